/** The page: one state, from which everything is drawn. */
(function () {
  'use strict';

  const lop = window.lop;
  const $ = (id) => document.getElementById(id);
  const page = { sweep: null, state: null, view: null, layout: null, cursor: null, milliseconds: 0 };

  function same(a, b) {
    return JSON.stringify(a) === JSON.stringify(b);
  }

  /** Compute what the state asks for; what has not changed is kept. */
  function compute(state) {
    const { sweep } = page;
    const old = page.view;
    const layout = old && same([old.x, old.y, old.at], [state.x, state.y, state.at]) ? page.layout : lop.layOut(sweep, state);
    const scores = old && same(old.criterion, state.criterion) ? old.scores : lop.score(sweep, state.criterion);
    const variable = lop.variables(sweep).find((one) => one.name === state.score);
    const fit = lop.fitOf(sweep, state, layout);
    const points = lop.summarise(sweep, layout, scores, variable, fit);
    const dots = lop.dotsOf(sweep, layout, scores, variable);
    const scale = variable.colours ? lop.stepsOf(variable) : lop.scaleOf(sweep, state.criterion, variable, dots ?? points);
    page.layout = layout;
    page.view = { ...state, sweep, scores, variable, fit, points, dots, scale };
  }

  function draw() {
    const { sweep, state, view, layout } = page;
    lop.showState(sweep, state, change);
    writeSentences();
    lop.showDetails(view, layout, state);
    return lop.drawMap(view, layout, page.cursor);
  }

  function writeSentences() {
    const { sweep, state } = page;
    $('sentence').textContent = lop.fillTemplate(sweep.about, state.criterion.definition, state.criterion);
    $('summary').textContent = summary();
    $('legend').replaceChildren(...legend().map(([mark, text]) => {
      const item = document.createElement('li');
      item.innerHTML = `<span class="mark ${mark}" aria-hidden="true"></span>`;
      item.append(text);
      return item;
    }));
  }

  function summary() {
    const { sweep, view, layout } = page;
    const missing = layout.missing.reduce((sum, n) => sum + n, 0);
    const notComputed = missing ? ` ${lop.count(missing, 'cell')} not computed yet.` : '';
    if (layout.members.length === 0) return `No finished cell in this slice.${notComputed} Choose another slice.`;
    const numbers = [...new Set(view.points.map((point) => point.cells).filter(Boolean))].sort((a, b) => a - b);
    const range = numbers.length > 1 ? `${numbers[0]} to ${numbers[numbers.length - 1]} cells` : lop.count(numbers[0], 'cell');
    const undefinedNote = view.points.some((point) => point.defined) ? '' : 'This score is undefined on the whole map. ';
    const { verdicts } = lop.tally(sweep, view.scores, layout.members);
    const counts = lop.verdictCounts(verdicts, sweep.about.verdicts);
    const cells = lop.count(layout.members.length, 'cell');
    return `${undefinedNote}${cells} on this map, ${range} per point: ${counts}.${notComputed}`;
  }

  /** The marks that occur on the map, as `[class, text]`. */
  function legend() {
    const { sweep: { about }, view: { points, variable, dots } } = page;
    const counted = page.state.numbers && !dots;
    const entries = [];
    if (points.some((point) => point.cells > 0 && point.defined === 0)) entries.push(['crossed', undefinedText()]);
    if (points.some((point) => point.cells === 0 && point.missing > 0)) entries.push(['hatched', 'not computed yet']);
    if (lop.isMixed(points, about.min_seeds)) entries.push(['ring', `fewer than ${about.min_seeds} seeds`]);
    else if (points.some((point) => point.defined > 0 && point.defined < about.min_seeds)) {
      entries.push(['none', `all points have fewer than ${about.min_seeds} seeds and are not reliable`]);
    }
    entries.push(...boundaryLegend());
    entries.push(...beyondLegend());
    if (dots) {
      entries.push(['none', 'dots: configurations at their own values']);
      entries.push(['none', 'faint areas: bins, whose numbers a point shows']);
    }
    if (counted && variable.decidable_only) entries.push(['none', 'k/n: k of n networks lost plasticity']);
    if (counted && variable.colours) {
      const ofLost = 'k/n: k of the n networks that lost plasticity';
      entries.push(['none', variable.background ? ofLost : 'k/n: k of n networks are in this verdict']);
    }
    if (variable.note) entries.push(...variable.note.split('; ').map((part) => ['none', part]));
    if (variable.metric && lop.isRough(page.sweep, variable.metric, page.state.criterion)) {
      entries.push(['none', 'rough: late values include a few tasks before the late ones']);
    }
    return entries;
  }

  /** The most extreme values, where they are beyond the colours. */
  function beyondLegend() {
    const { variable, scale, dots, points } = page.view;
    const values = (dots ?? points).map(({ value }) => value).filter((value) => !Number.isNaN(value));
    if (variable.colours || values.length === 0) return [];
    const [low, high] = lop.extent(values);
    const rounding = 1e-9 * (scale.high - scale.low);
    const beyond = [
      scale.draw(low) < scale.low - rounding ? `down to ${lop.number(low)}` : '',
      scale.draw(high) > scale.high + rounding ? `up to ${lop.number(high)}` : '',
    ].filter(Boolean).join(', ');
    if (!beyond || variable.column === 'onset') return []; // its note says where seeds without an onset are
    return [['none', `values beyond the colours: ${beyond}`]];
  }

  /** The parts of the boundary that are drawn, or why there is none. */
  function boundaryLegend() {
    const { sweep, state, view: { fit, points, variable } } = page;
    if (!state.boundary && !variable.rate) return [];
    const against = lop.reasonAgainst(sweep, state);
    if (against) return [['none', against]];
    if (!state.boundary) return [];
    const drawn = lop.BOUNDARY.filter(({ part }) => fit.lines(part).x.length > 0).reverse();
    const entries = drawn.map(({ part, mark }) => [mark, lop.edgeLabel(sweep, part, state.level)]);
    const hasLine = drawn.some(({ part }) => part !== 'band');
    if (hasLine || !points.some((point) => point.lost > 0)) return entries;
    return [...entries, ['none', lop.edgeLabel(sweep, drawn.length ? 'band only' : 'none', state.level)]];
  }

  /** The text under a map that is saved. */
  function caption() {
    const { sweep, state } = page;
    const slice = Object.entries(state.at).map(([name, index]) =>
      (index === lop.ALL ? `${name}: all, pooled` : lop.fieldText(sweep.fields.get(name), index)));
    const sentences = [$('sentence').textContent, $('summary').textContent];
    const lines = boundaryLegend().map(([mark, text]) => (mark === 'none' ? text : `${mark}: ${text}`));
    return [slice.join(', '), ...sentences, lines.join('; '), `lop-sweep ${sweep.about.version}`].filter(Boolean);
  }

  function undefinedText() {
    const { sweep, view, layout } = page;
    if (view.variable.rate) return 'undefined: not fitted';
    if (view.variable.decidable_only) return 'undefined: fresh networks fail too (or there are none), or all seeds diverged';
    const { metric } = view.variable;
    const empty = view.points.flatMap((point, p) => (point.cells > 0 && point.defined === 0 ? [layout.cellsOf(p)] : []));
    if (metric && empty.some((cells) => !lop.isMeasured(sweep, metric, cells))) {
      return 'undefined: not measured, or all seeds diverged';
    }
    return view.variable.colours ? 'undefined' : 'undefined: all seeds diverged';
  }

  let scheduled = false;

  /** Replace the state by `step` of it. Drawing waits for the next frame, which several steps may share. */
  function change(step) {
    page.state = step(page.state);
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      refresh();
    });
  }

  function refresh() {
    const begin = performance.now();
    compute(page.state);
    writeAddress();
    const drawn = draw();
    page.milliseconds = performance.now() - begin;
    return drawn;
  }

  let waiting = null;
  let known = location.hash; // of the address when the page last read or wrote it

  /** Put the state into the address, with a delay, because browsers limit how often it may change. */
  function writeAddress() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (location.hash !== known) return; // the user has entered another one, and its event comes next
      history.replaceState(null, '', lop.toHash(page.sweep, page.state));
      known = location.hash;
    }, 100);
  }

  function readAddress() {
    known = location.hash;
    change(() => lop.fromHash(page.sweep, known));
  }

  function choose(point) {
    page.cursor = point;
    change((state) => ({ ...state, point, cell: same(point, state.point) ? state.cell : null }));
  }

  function chooseCell(cell) {
    change((state) => ({ ...state, cell }));
  }

  function close() {
    choose(null);
    $('map').focus();
  }

  function moveCursor(dx, dy) {
    const { layout, state } = page;
    const from = page.cursor ?? state.point ?? { x: dx < 0 ? layout.columns : -1, y: dy < 0 ? layout.rows : -1 };
    const within = (value, size) => Math.min(Math.max(value, 0), size - 1);
    page.cursor = { x: within(from.x + dx, layout.columns), y: within(from.y + dy, layout.rows) };
    lop.moveFrames(layout, state.point, page.cursor);
    lop.announce(page.view, layout, page.cursor);
    const place = lop.placeOf(layout, page.cursor);
    lop.showTip(page.view, layout, page.cursor, place.left, place.top);
  }

  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  function onKey(event) {
    if (KEYS[event.key]) moveCursor(...KEYS[event.key]);
    else if (event.key === 'Enter' && page.cursor) {
      choose(page.cursor);
      lop.hideTip();
    } else if (event.key === 'Escape') {
      lop.hideTip();
      close();
    } else return;
    event.preventDefault();
  }

  function listen() {
    const map = $('map');
    map.addEventListener('mousemove', (event) => {
      const point = lop.pointAt(page.layout, event.clientX, event.clientY);
      if (point) lop.showTip(page.view, page.layout, point, event.clientX, event.clientY);
      else lop.hideTip();
      map.classList.toggle('over', Boolean(point));
    });
    map.addEventListener('mouseleave', lop.hideTip);
    map.addEventListener('click', (event) => {
      const point = lop.pointAt(page.layout, event.clientX, event.clientY);
      if (!point) return;
      choose(point);
      lop.hideTip();
    });
    map.addEventListener('keydown', onKey);
    map.addEventListener('blur', () => {
      lop.hideTip();
      page.cursor = null;
      lop.moveFrames(page.layout, page.state.point, null);
    });
    $('details').addEventListener('keydown', (event) => {
      if (event.key === 'Escape') close();
    });
    $('save').addEventListener('click', () => lop.saveMap(page.sweep.about.space || 'map', document.title, caption()));
    window.addEventListener('hashchange', readAddress);
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => change((state) => state));
    new ResizeObserver(() => change((state) => state)).observe(map);
  }

  function origin(sweep) {
    const { about } = sweep;
    const dtypes = [...new Set(about.provenance.map(({ dtype }) => dtype))].join(' and ');
    const versions = [...new Set(about.provenance.map(({ lop_sweep_version: version }) => version))].join(', ');
    const parts = [
      `${lop.count(about.cells, 'cell')}, ${lop.count(about.seeds.length, 'seed')}`, `directory ${about.directory}`, dtypes,
      about.created && `created ${about.created.replace('T', ' ').slice(0, 16)}`, `lop-sweep ${versions}`,
    ];
    return parts.filter(Boolean).join(' · ');
  }

  function fail(text) {
    $('problem').textContent = text;
    $('problem').hidden = false;
    $('main').hidden = true;
  }

  async function start() {
    if (!window.DecompressionStream) {
      const browsers = 'Use Firefox 113, Chrome or Edge 97, Safari 16.4, or a later version.';
      fail(`This browser has no DecompressionStream and cannot unpack the report. ${browsers}`);
      return;
    }
    page.sweep = await lop.load();
    await lop.loadPlotly();
    $('origin').textContent = origin(page.sweep);
    lop.setUp(page.sweep, change);
    lop.setUpDetails(chooseCell, close);
    page.state = lop.fromHash(page.sweep, location.hash);
    await refresh();
    listen();
    $('main').removeAttribute('aria-busy');
  }

  const ready = start().catch((error) => {
    fail(`This report cannot be shown: ${error.message}`);
    throw error;
  });

  /** For scripts and tests: the content of the page, and a way to change its state. */
  window.lopReport = {
    ready,
    state: () => structuredClone(page.state),
    change: (changes) => {
      page.state = { ...page.state, ...changes };
      return refresh();
    },
    points: () => page.view.points,
    pointsOf: (changes) => {
      const state = { ...page.state, ...changes };
      const variable = lop.variables(page.sweep).find((one) => one.name === state.score);
      const layout = lop.layOut(page.sweep, state);
      const fit = lop.fitOf(page.sweep, state, layout);
      return lop.summarise(page.sweep, layout, lop.score(page.sweep, state.criterion), variable, fit);
    },
    axes: () => ({ x: page.layout.x.values, y: page.layout.y.values }),
    scores: (column) => Array.from(page.view.scores.column(column)),
    caption,
    placeOf: (point) => lop.placeOf(page.layout, point),
    milliseconds: () => page.milliseconds,
  };
})();
