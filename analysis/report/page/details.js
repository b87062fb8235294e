/** The details of a chosen point: its numbers, curves, layers, seeds, configuration, and a command to rerun a cell. */
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
    <p class="note">Command to compute this cell again:</p>
    <div class="command"><code id="command"></code><button type="button" id="copy">Copy</button></div>
    <h3>Seeds</h3><div class="scroll"><table id="seeds"></table></div><p class="note" id="symptom-note"></p>
    <h3>Configuration</h3><dl id="configuration"></dl><p class="note" id="provenance"></p>`;

  function bySeed(sweep, cells) {
    const number = (cell) => sweep.arrays.seed[cell];
    return Array.from(cells).sort((a, b) => number(a) - number(b) || a - b);
  }

  /** The fields in which the cells of a point differ: pooled slices and bins. */
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

  function verdictText(sweep, scores, cell) {
    const at = sweep.arrays.diverged_at[cell];
    return sweep.about.verdicts[scores.verdict[cell]] + (at ? ` at task ${at}` : '');
  }

  function seedsTable(sweep, scores, cells) {
    const { about } = sweep;
    const fields = differing(sweep, cells);
    const short = (column) => [...about.categories, ...about.scores].find((variable) => variable.column === column).short;
    const columns = ['verdict', 'excess', 'late_ce', 'onset', 'first_symptom'];
    const head = ['seed', ...fields, ...columns.map(short), 'tasks ahead'];
    const first = (cell) => (lop.hasEveryTask(sweep) ? about.first[scores.symptoms().first[cell]] : '–');
    const rows = cells.map((cell) => [
      seedOf(sweep, cell), ...fields.map((name) => lop.setting(lop.fieldValue(sweep, name, cell))),
      verdictText(sweep, scores, cell), lop.number(scores.column('excess')[cell]), lop.number(scores.column('late_ce')[cell]),
      onsetText(sweep, scores, cell), first(cell), lop.number(scores.symptoms().lead[cell]),
    ]);
    const cellsHtml = (row) => row.map((text) => `<td>${lop.escape(text)}</td>`).join('');
    const body = rows.map((row, i) => `<tr data-cell="${idOf(sweep, cells[i])}">${cellsHtml(row)}</tr>`).join('');
    const headHtml = head.map((text) => `<th scope="col">${lop.escape(text)}</th>`).join('');
    return `<thead><tr>${headHtml}</tr></thead><tbody>${body}</tbody>`;
  }

  function configurationHtml(sweep, cell, cells) {
    const config = lop.configuration(sweep, cell);
    const varying = differing(sweep, cells);
    return sweep.about.config
      .filter(({ name }) => name !== 'seed')
      .map((field) => {
        const value = lop.setting(config[field.name]);
        const text = varying.includes(field.name) ? `${value} (of the chosen cell)` : value;
        const mark = lop.isDefault(config, field) ? '' : ' class="changed"';
        return `<dt title="${lop.escape(field.description)}">${field.name}</dt><dd${mark}>${lop.escape(text)}</dd>`;
      })
      .join('');
  }

  /** What the lines of the curves are, only those that are drawn. */
  function curveNote({ sweep, scores }, cells, chosen) {
    const { about } = sweep;
    const steps = (metric) => Math.max(...cells.map((cell) => lop.sequence(sweep, metric, cell).step));
    const [loss, others] = [steps(lop.MAIN), steps(about.metrics.find(({ name }) => name !== lop.MAIN).name)];
    const alike = lop.equallyLong(sweep, cells, chosen);
    const some = `the ${alike.length} cells of ${sweep.arrays.tasks[chosen]} tasks`;
    const those = alike.length < cells.length ? some : `${cells.length} cells`;
    const gaps = alike.some((cell) => sweep.arrays.diverged_at[cell]) ? ', up to the first that diverged' : '';
    return [
      lop.hasSeedLines(sweep, cells)
        ? 'One line per seed.'
        : `Median and ${lop.bandName(sweep, alike)} over ${those}${gaps}. Thin line: the chosen seed.`,
      cells.some((cell) => Number.isFinite(sweep.arrays.fresh_mean_ce[cell]))
        ? `Dashed: mean of the fresh networks, with a band from their ${about.percentiles.label}.`
        : '',
      cells.some((one) => scores.onset[one] > 0) ? 'Triangles: onsets.' : '',
      `Logarithmic axes end at ${lop.number(about.min_log_value, 1)}.`,
      others > 1 ? `Curves are means over ${others} tasks${loss > 1 ? '' : ', except the CE after the task'}.` : '',
    ].filter(Boolean).join(' ');
  }

  function layerNote(sweep, cell) {
    const step = lop.stride(sweep.arrays.tasks[cell], sweep.about.resolution.layers);
    return step > 1 ? `Means over ${step} tasks.` : '';
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

  /** Put the panel's empty parts into the page; `choose` takes a cell's id, and `close` closes the panel. */
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
      const values = pooled.map((name) => `${name} = ${lop.setting(lop.fieldValue(sweep, name, one))}`);
      option.textContent = [seedOf(sweep, one), ...values].join(', ');
      return option;
    }));
    $('seed').value = idOf(sweep, cell);
  }

  /** The cell with this id if the point has it, else the point's first. */
  function chosenCell(sweep, cells, id) {
    return cells.find((cell) => idOf(sweep, cell) === id) ?? cells[0];
  }

  const drawn = {};

  /** Call `draw` only if one of the things that it depends on has changed. */
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
    $('curve-note').textContent = curveNote(view, cells, cell);
    $('symptom-note').textContent = lop.fillTemplate(sweep.about, 'symptoms', state.criterion);
    $('layer-note').textContent = layerNote(sweep, cell);
    $('command').innerHTML = lop.command(sweep, cell).map((part) => `<span>${lop.escape(part)}</span>`).join(' ');
    $('seeds').innerHTML = seedsTable(sweep, scores, cells);
    $('configuration').innerHTML = configurationHtml(sweep, cell, cells);
    const provenance = Object.entries(sweep.about.provenance[sweep.arrays.provenance[cell]]);
    const computedWith = provenance.map(([name, text]) => `${name} ${text}`).join(', ');
    $('provenance').textContent = `Cell ${idOf(sweep, cell)}. Computed with ${computedWith}.`;
    const look = [state.theme, matchMedia('(prefers-color-scheme: dark)').matches, $('curves').clientWidth];
    const onsets = cells.map((one) => scores.onset[one]);
    ifNew('curves', [look, cells, cell, onsets], () => lop.drawCurves($('curves'), sweep, scores, cells, cell));
    ifNew('layers', [look, cell], () => lop.drawLayers($('layers'), sweep, cell));
  }

  Object.assign(lop, { setUpDetails, showDetails });
})();
