/** The details of a chosen point: its numbers, curves, layers, seeds, configuration, and how to run a cell again. */
(function () {
  'use strict';

  const lop = window.lop;
  const $ = (id) => document.getElementById(id);
  const FRAME = `
    <header><h2 id="point-name"></h2><button type="button" id="close" aria-label="Close the details">✕</button></header>
    <div id="facts"></div>
    <h3>Task by task</h3><p class="note" id="curve-note"></p><div id="curves"></div>
    <h3><label>One seed <select id="seed"></select></label></h3>
    <div id="layers"></div><p class="note" id="layer-note"></p>
    <p class="note">Compute it again:</p>
    <div class="command"><code id="command"></code><button type="button" id="copy">Copy</button></div>
    <h3>Seeds</h3><div class="scroll"><table id="seeds"></table></div><p class="note" id="symptom-note"></p>
    <h3>Configuration</h3><dl id="configuration"></dl><p class="note" id="how"></p>`;

  function bySeed(sweep, cells) {
    const number = (cell) => sweep.arrays.seed[cell];
    return Array.from(cells).sort((a, b) => number(a) - number(b) || a - b);
  }

  /** The fields in which the cells of a point differ: those of pooled slices and bins. */
  function differing(sweep, cells) {
    return sweep.about.fields
      .map((field) => field.name)
      .filter((name) => new Set(cells.map((cell) => lop.fieldValue(sweep, name, cell))).size > 1);
  }

  function seedOf(sweep, cell) {
    return sweep.about.seeds[sweep.arrays.seed[cell]];
  }

  function idOf(sweep, cell) {
    return Array.from(sweep.arrays.id.subarray(8 * cell, 8 * cell + 8), (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  function onsetText(sweep, scores, cell) {
    if (!lop.hasEveryTask(sweep)) return '–';
    if (scores.onset[cell] > 0) return `task ${scores.onset[cell]}`;
    return Number.isNaN(scores.lost[cell]) ? '–' : `> ${sweep.arrays.tasks[cell]}`;
  }

  function phaseText(sweep, scores, cell) {
    const at = sweep.arrays.diverged_at[cell];
    return sweep.about.phases[scores.phase[cell]] + (at ? ` at task ${at}` : '');
  }

  function seedsTable(sweep, scores, cells) {
    const fields = differing(sweep, cells);
    const head = ['seed', ...fields, 'phase', 'excess', 'late CE', 'onset', 'first symptom', 'ahead by'];
    const first = (cell) => (lop.hasEveryTask(sweep) ? sweep.about.first[scores.symptoms().first[cell]] : '–');
    const rows = cells.map((cell) => [
      seedOf(sweep, cell), ...fields.map((name) => lop.setting(lop.fieldValue(sweep, name, cell))),
      phaseText(sweep, scores, cell), lop.number(scores.column('excess')[cell]), lop.number(scores.column('late_final_ce')[cell]),
      onsetText(sweep, scores, cell), first(cell), lop.number(scores.symptoms().lead[cell]),
    ]);
    const cellsHtml = (row) => row.map((text) => `<td>${lop.escape(text)}</td>`).join('');
    const body = rows.map((row, i) => `<tr data-cell="${idOf(sweep, cells[i])}">${cellsHtml(row)}</tr>`).join('');
    return `<thead><tr>${head.map((text) => `<th scope="col">${lop.escape(text)}</th>`).join('')}</tr></thead><tbody>${body}</tbody>`;
  }

  function configurationHtml(sweep, cell, cells) {
    const config = lop.configuration(sweep, cell);
    const varying = differing(sweep, cells);
    return Object.keys(config)
      .filter((name) => name !== 'seed')
      .map((name) => {
        const text = varying.includes(name) ? `${lop.setting(config[name])} (of the chosen cell)` : lop.setting(config[name]);
        const mark = lop.isDefault(sweep, config, name) ? '' : ' class="changed"';
        return `<dt title="${lop.escape(sweep.about.descriptions[name])}">${name}</dt><dd${mark}>${text}</dd>`;
      })
      .join('');
  }

  function curveNote(sweep, cells, chosen) {
    const steps = (measure) => Math.max(...cells.map((cell) => lop.sequence(sweep, measure, cell).step));
    const alike = lop.equallyLong(sweep, cells, chosen);
    const those = alike.length < cells.length ? `the ${alike.length} cells of ${sweep.arrays.tasks[chosen]} tasks` : `${cells.length} cells`;
    const gaps = alike.some((cell) => sweep.arrays.diverged_at[cell]) ? ', as long as none has diverged' : '';
    const seeds = cells.length > lop.MANY_SEEDS ? `Median and ${lop.bandName(sweep, alike)} over ${those}${gaps}; thin: the chosen one.` : 'One line a seed.';
    const fresh = 'Dashed: mean of the fresh networks; band: their 10th to 90th percentile. Triangles: onsets. Logarithmic axes end at 1e-6 below.';
    const thinned = steps('min_ce') > 1 ? ` Curves are means over ${steps('min_ce')} tasks${steps('final_ce') > 1 ? '' : ', but the final CE is not'}.` : '';
    return `${seeds} ${fresh}${thinned}`;
  }

  function layerNote(sweep, cell) {
    const step = lop.stride(sweep.arrays.tasks[cell], sweep.about.resolution.layers);
    return step > 1 ? `Means over ${step} tasks.` : '';
  }

  function symptomNote(rule) {
    const beyond = `effective rank below ${rule.rank} times, duplicates ${rule.duplicates} or saturation ${rule.saturation} above`;
    return `Symptoms: ${beyond} that of the first ${rule.early} tasks, ${lop.count(rule.hold, 'task')} in a row.`;
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren($('command'));
      button.textContent = 'Press Ctrl+C';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  }

  /** Put the panel's empty parts into the page; `choose` is called with a cell's id, `close` when it is to be closed. */
  function setUpDetails(choose, close) {
    $('details').innerHTML = FRAME;
    $('close').addEventListener('click', close);
    $('seed').addEventListener('change', () => choose($('seed').value));
    $('copy').addEventListener('click', () => copy($('command').textContent, $('copy')));
  }

  function seedOptions(sweep, cells, cell) {
    const pooled = differing(sweep, cells);
    $('seed').replaceChildren(...cells.map((one) => {
      const option = document.createElement('option');
      option.value = idOf(sweep, one);
      option.textContent = [seedOf(sweep, one), ...pooled.map((name) => `${name} = ${lop.setting(lop.fieldValue(sweep, name, one))}`)].join(', ');
      return option;
    }));
    $('seed').value = idOf(sweep, cell);
  }

  /** The cell of this id, if it is one of the point's, else the point's first. */
  function chosenCell(sweep, cells, id) {
    return cells.find((cell) => idOf(sweep, cell) === id) ?? cells[0];
  }

  const drawn = {};

  /** Draw only if what it depends on differs from the last time. */
  function ifNew(name, dependsOn, draw) {
    const key = JSON.stringify(dependsOn);
    if (drawn[name] !== key) draw();
    drawn[name] = key;
  }

  /** Fill the panel for the chosen point of `view`, or hide it. */
  function showDetails(view, layout, state) {
    const { sweep, scores } = view;
    $('details').hidden = !state.point;
    document.body.classList.toggle('with-details', Boolean(state.point));
    if (!state.point) return;
    const cells = bySeed(sweep, layout.cellsOf(state.point.y * layout.columns + state.point.x));
    $('point-name').textContent = lop.pointName(view, layout, state.point);
    $('facts').innerHTML = lop.rowsHtml(lop.pointRows(view, layout, state.point));
    for (const element of $('details').children) {
      if (element.tagName !== 'HEADER' && element.id !== 'facts') element.hidden = cells.length === 0;
    }
    if (cells.length === 0) return;
    const cell = chosenCell(sweep, cells, state.cell);
    seedOptions(sweep, cells, cell);
    $('curve-note').textContent = curveNote(sweep, cells, cell);
    $('symptom-note').textContent = symptomNote(state.rule);
    $('layer-note').textContent = layerNote(sweep, cell);
    $('command').textContent = lop.command(sweep, cell);
    $('seeds').innerHTML = seedsTable(sweep, scores, cells);
    $('configuration').innerHTML = configurationHtml(sweep, cell, cells);
    const how = sweep.about.how[sweep.arrays.how[cell]];
    $('how').textContent = `Computed with ${Object.entries(how).map(([name, text]) => `${name} ${text}`).join(', ')}. Cell ${idOf(sweep, cell)}.`;
    const look = [state.theme, matchMedia('(prefers-color-scheme: dark)').matches, $('curves').clientWidth];
    ifNew('curves', [look, cells, cell, cells.map((one) => scores.onset[one])], () => lop.drawCurves($('curves'), sweep, scores, cells, cell));
    ifNew('layers', [look, cell], () => lop.drawLayers($('layers'), sweep, cell));
  }

  Object.assign(lop, { setUpDetails, showDetails });
})();
