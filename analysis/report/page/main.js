/** The page: one state, from which everything is drawn. */
(function () {
  'use strict';

  const lop = window.lop;
  const $ = (id) => document.getElementById(id);
  const page = { sweep: null, state: null, view: null, layout: null, cursor: null, milliseconds: 0 };

  function same(a, b) {
    return JSON.stringify(a) === JSON.stringify(b);
  }

  /** Compute what the state asks for; what it does not change is kept. */
  function compute(state) {
    const { sweep } = page;
    const old = page.view;
    const layout = old && same([old.x, old.y, old.at], [state.x, state.y, state.at]) ? page.layout : lop.layOut(sweep, state);
    const scores = old && same(old.rule, state.rule) ? old.scores : lop.score(sweep, state.rule);
    const shown = lop.allShown(sweep).find((one) => one.name === state.score);
    const points = lop.summarise(sweep, layout, scores, shown);
    page.layout = layout;
    page.view = { ...state, sweep, scores, shown, points, scale: shown.colours ? lop.stepsOf(shown) : lop.scaleOf(sweep, state.rule, shown, points) };
  }

  function draw() {
    const { sweep, state, view, layout } = page;
    lop.showState(sweep, state, change);
    writeSentences();
    lop.showDetails(view, layout, state);
    const options = { chosen: state.point, cursor: page.cursor, boundary: state.boundary, numbers: state.numbers };
    return lop.drawMap(sweep, layout, view.points, view.shown, view.scale, options);
  }

  function writeSentences() {
    const { sweep, state, view, layout } = page;
    const cells = layout.members;
    const { phases } = lop.tally(sweep, view.scores, cells);
    const seeds = [...new Set(view.points.map((point) => point.cells).filter(Boolean))].sort((a, b) => a - b);
    const range = seeds.length > 1 ? `${seeds[0]} to ${seeds[seeds.length - 1]} cells` : lop.count(seeds[0] ?? 0, 'cell');
    $('sentence').textContent = lop.ruleSentence(state.rule);
    $('summary').textContent = cells.length
      ? `${view.points.some((point) => point.defined) ? '' : 'This score is undefined on the whole map. '}${lop.count(cells.length, 'cell')} on this map, ${range} a point: ${lop.phaseCounts(phases, sweep.about.phases)}.${missing()}`
      : `No finished cell in this slice.${missing()} Choose another one.`;
    $('legend').replaceChildren(...legend().map(([mark, text]) => {
      const item = document.createElement('li');
      item.innerHTML = `<span class="mark ${mark}" aria-hidden="true"></span>`;
      item.append(text);
      return item;
    }));
  }

  function missing() {
    const waiting = page.layout.waiting.reduce((sum, n) => sum + n, 0);
    return waiting ? ` ${lop.count(waiting, 'cell')} not computed yet.` : '';
  }

  function legend() {
    const { sweep, state, view } = page;
    const { points, shown } = view;
    const entries = [];
    if (points.some((point) => point.cells > 0 && point.defined === 0)) entries.push(['crossed', undefinedText(shown)]);
    if (points.some((point) => point.cells === 0 && point.waiting > 0)) entries.push(['hatched', 'not computed yet']);
    if (lop.isMixed(points, sweep.about.few)) entries.push(['ring', `fewer than ${sweep.about.few} seeds`]);
    else if (points.some((point) => point.defined > 0 && point.defined < sweep.about.few)) entries.push(['none', `all points have fewer than ${sweep.about.few} seeds: trust them little`]);
    if (state.boundary && isCrossed(points, 'middle')) entries.push(['line', 'P(lost) = 1/2']);
    if (state.boundary && (isCrossed(points, 'low') || isCrossed(points, 'high'))) entries.push(['dashed', 'its 95% interval (Wilson)']);
    if (state.numbers && shown.judged) entries.push(['none', 'k/n: k of n networks lost plasticity']);
    if (state.numbers && shown.colours) entries.push(['none', shown.background ? 'k/n: k of the n networks that lost plasticity' : 'k/n: k of n networks are in this phase']);
    if (shown.note) entries.push(['none', shown.note]);
    if (shown.column && shown.column.startsWith('late_') && lop.isRough(sweep, shown.column.slice(5), state.rule)) {
      entries.push(['none', 'rough: late means are of thinned-out curves here']);
    }
    return entries;
  }

  /** Whether a share is above 1/2 at some points and below at others. */
  function isCrossed(points, name) {
    const shares = points.map((point) => lop.SHARES[name](point, page.sweep.about.telling)).filter((share) => share !== null);
    return shares.some((share) => share >= 0.5) && shares.some((share) => share < 0.5);
  }

  /** What the saved picture says under the map. */
  function caption() {
    const { sweep, state } = page;
    const slice = Object.entries(state.at).map(([name, index]) => `${name} = ${index === lop.ALL ? 'all, pooled' : lop.setting(sweep.fields.get(name).values[index])}`);
    return [slice.join(', '), $('sentence').textContent, $('summary').textContent, `lop-sweep ${sweep.about.version}`].filter(Boolean);
  }

  function undefinedText(shown) {
    if (shown.judged) return 'undefined: fresh networks fail too (or there are none), or all seeds diverged';
    return shown.colours ? 'undefined' : 'undefined: all seeds diverged';
  }

  let scheduled = false;

  /** Go to the state that `step` makes of the present one; drawing waits for the next frame, several steps share it. */
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

  /** Put the state into the address; not at every step of a number that is being changed, browsers limit that. */
  function writeAddress() {
    clearTimeout(waiting);
    waiting = setTimeout(() => history.replaceState(null, '', lop.toHash(page.sweep, page.state)), 100);
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
    window.addEventListener('hashchange', () => change(() => lop.fromHash(page.sweep, location.hash)));
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => change((state) => state));
    new ResizeObserver(() => change((state) => state)).observe(map);
  }

  function origin(sweep) {
    const { about } = sweep;
    const types = [...new Set(about.how.map((how) => how.dtype))].join(' and ');
    const versions = [...new Set(about.how.map((how) => how.lop_sweep_version))].join(', ');
    const parts = [
      `${lop.count(about.cells, 'cell')}, ${lop.count(about.seeds.length, 'seed')}`, `directory ${about.directory}`, types,
      about.created && `made ${about.created.replace('T', ' ').slice(0, 16)}`, `lop-sweep ${versions}`,
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
      fail('This browser cannot unpack the report (it has no DecompressionStream). Firefox from 113, Chrome and Edge from 97 and Safari from 16.4 can.');
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

  /** For scripts and tests: what the page shows, and a way to show something else. */
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
      const shown = lop.allShown(page.sweep).find((one) => one.name === state.score);
      return lop.summarise(page.sweep, lop.layOut(page.sweep, state), lop.score(page.sweep, state.rule), shown);
    },
    axes: () => ({ x: page.layout.x.values, y: page.layout.y.values }),
    scores: (column) => Array.from(page.view.scores.column(column)),
    placeOf: (point) => lop.placeOf(page.layout, point),
    milliseconds: () => page.milliseconds,
  };
})();
