/** The form: it shows the state, and reports what is changed in it. */
(function () {
  'use strict';

  const lop = window.lop;
  const $ = (id) => document.getElementById(id);

  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function option(value, textContent) {
    return make('option', { value, textContent });
  }

  function fill(select, options) {
    select.replaceChildren(...options.map(([value, text]) => option(value, text)));
  }

  function group(label, variables) {
    return make('optgroup', { label }, ...variables.map(({ name, short }) => option(name, short)));
  }

  /** One select per sliced field. */
  function slices(sweep, state, change) {
    const rows = Object.keys(state.at).map((name) => {
      const { names, binned } = sweep.fields.get(name);
      const select = make('select', { id: `at-${name}` });
      fill(select, [[lop.ALL, 'all, pooled'], ...names.map((text, index) => [index, `${binned ? '≈ ' : ''}${text}`])]);
      select.addEventListener('change', () => change((now) => ({ ...now, at: { ...now.at, [name]: Number(select.value) } })));
      return make('label', {}, `${name} `, select);
    });
    const fieldset = $('slices');
    fieldset.replaceChildren(fieldset.querySelector('legend'), ...rows);
    fieldset.hidden = rows.length === 0;
  }

  /** The inputs of the criterion's thresholds. */
  function thresholds({ about }) {
    const rows = about.controls.map(({ name, label, unit, description, step, empty, is_count: isCount }) => {
      const input = make('input', { id: name, type: 'number', min: isCount ? '1' : '0', step: String(step), placeholder: empty });
      const unitSpan = make('span', { className: 'unit', textContent: unit });
      return make('label', { title: description }, `${label} `, unitSpan, ' ', input);
    });
    $('thresholds').replaceChildren(...rows);
  }

  /** Name the numbers that are not used because the criterion does not allow them. */
  function showProblems({ about }) {
    const wrong = about.controls.filter(({ name }) => $(name).getAttribute('aria-invalid') === 'true');
    const kind = (control) => (control.is_count ? 'a whole number of at least 1' : 'a number of at least 0');
    const problems = wrong.map((control) => `${control.label} must be ${kind(control)}.`);
    $('invalid').textContent = problems.length ? `${problems.join(' ')} The map still shows the last valid value.` : '';
  }

  /** Write the state into the form; a number that is being typed is left alone. */
  function showState(sweep, state, change) {
    for (const name of ['x', 'y', 'score', 'level', 'theme']) $(name).value = state[name];
    $('definition').value = state.criterion.definition;
    for (const { name, is_count: isCount, definitions } of sweep.about.controls) {
      const [input, value] = [$(name), state.criterion[name]];
      if (document.activeElement !== input) {
        input.value = value === null || isCount ? value ?? '' : Number(value.toPrecision(6));
        input.removeAttribute('aria-invalid');
      }
      input.closest('label').classList.toggle('unused', !definitions.includes(state.criterion.definition));
    }
    showProblems(sweep);
    for (const name of ['boundary', 'numbers']) $(name).checked = state[name];
    const keys = Object.keys(state.at).join();
    if ($('slices').dataset.keys !== keys) {
      slices(sweep, state, change);
      $('slices').dataset.keys = keys;
    }
    for (const [name, index] of Object.entries(state.at)) $(`at-${name}`).value = String(index);
    document.documentElement.dataset.theme = state.theme;
  }

  function resolutionNote(sweep) {
    const { resolution, cells } = sweep.about;
    const longest = sweep.arrays.tasks.reduce((a, b) => Math.max(a, b), 1);
    const step = (blocks) => lop.stride(longest, blocks);
    const notes = [];
    if (resolution.loss) {
      notes.push(
        `With ${lop.count(cells, 'cell')} the report does not hold the loss of every task.`,
        `CE curves are means over up to ${step(resolution.loss)} tasks.`,
        'Failed tasks are counted by the thresholds that the report was made with.',
        'Onsets and other windows of late tasks are not available.',
      );
    }
    const [curves, layers] = [step(resolution.curves), step(resolution.layers)];
    const small = 'to keep this file small.';
    if (curves > 1) notes.push(`Other curves are means over up to ${curves} tasks, layers over up to ${layers}, ${small}`);
    else if (layers > 1) notes.push(`Layers show means over up to ${layers} tasks, ${small}`);
    return notes.join(' ');
  }

  /** Fill the form once and listen to it; `change` takes a function from the old state to the new. */
  function setUp(sweep, change) {
    const { about } = sweep;
    const names = about.fields.map(({ name }) => [name, name]);
    fill($('x'), names);
    fill($('y'), names);
    fill($('definition'), about.definitions.map(({ name, label }) => [name, label]));
    thresholds(sweep);
    const isLoss = (variable) => !variable.rate && (variable.decidable_only || variable.colours);
    const variables = lop.variables(sweep);
    $('score').replaceChildren(
      group('Loss of plasticity', variables.filter(isLoss)),
      group('Fitted surfaces', variables.filter((variable) => variable.rate)),
      group('Metrics', variables.filter((variable) => !variable.rate && !isLoss(variable))),
    );
    fill($('level'), about.surfaces.levels.map((_, level) => [level, lop.edgeLabel(sweep, 'line', level)]));
    const on = (name, event, next) => $(name).addEventListener(event, () => change(next));
    const withCriterion = (now, values) => ({ ...now, criterion: { ...now.criterion, ...values } });
    for (const axis of ['x', 'y']) on(axis, 'change', (now) => lop.withAxes(sweep, now, { [axis]: $(axis).value }));
    for (const name of ['score', 'theme']) on(name, 'change', (now) => ({ ...now, [name]: $(name).value }));
    on('level', 'change', (now) => ({ ...now, level: Number($('level').value) }));
    for (const name of ['boundary', 'numbers']) on(name, 'change', (now) => ({ ...now, [name]: $(name).checked }));
    on('definition', 'change', (now) => withCriterion(now, { definition: $('definition').value }));
    on('reset', 'click', (now) => ({ ...now, criterion: lop.ownCriterion(sweep) }));
    for (const control of about.controls) {
      const input = $(control.name);
      input.addEventListener('input', () => {
        const read = input.validity.badInput ? null : lop.readThreshold(control, input.value);
        input.setAttribute('aria-invalid', String(!read));
        showProblems(sweep);
        if (read) change((now) => withCriterion(now, { [control.name]: read.value }));
      });
    }
    $('controls').addEventListener('submit', (event) => event.preventDefault());
    $('resolution').textContent = resolutionNote(sweep);
    if (lop.hasEveryTask(sweep)) return;
    for (const { name, needs_every_task: needs } of about.definitions) {
      $('definition').querySelector(`[value=${name}]`).disabled = needs;
    }
    for (const { name, needs_every_task: needs } of about.controls) $(name).disabled = needs;
  }

  Object.assign(lop, { setUp, showState });
})();
