/** The form: it shows the state and says what is changed in it. */
(function () {
  'use strict';

  const lop = window.lop;
  const $ = (id) => document.getElementById(id);

  function option(value, text) {
    const element = document.createElement('option');
    element.value = value;
    element.textContent = text;
    return element;
  }

  function fill(select, options) {
    select.replaceChildren(...options.map(([value, text]) => option(value, text)));
  }

  function group(label, shown) {
    const element = document.createElement('optgroup');
    element.label = label;
    element.append(...shown.map((one) => option(one.name, lop.shortLabel(one))));
    return element;
  }

  /** One select for each sliced field. */
  function slices(sweep, state, change) {
    const rows = Object.entries(state.at).map(([name, index]) => {
      const label = document.createElement('label');
      const select = document.createElement('select');
      const { values, binned } = sweep.fields.get(name);
      select.id = `at-${name}`;
      fill(select, values.map((value, i) => [i, `${binned ? '≈ ' : ''}${lop.setting(value)}`]));
      select.prepend(option(lop.ALL, 'all, pooled'));
      select.value = String(index);
      select.addEventListener('change', () => change((now) => ({ ...now, at: { ...now.at, [name]: Number(select.value) } })));
      label.append(`${name} `, select);
      return label;
    });
    const fieldset = $('slices');
    fieldset.replaceChildren(fieldset.querySelector('legend'), ...rows);
    fieldset.hidden = rows.length === 0;
  }

  /** Which thresholds the chosen definition uses at all. */
  function used(name, definition) {
    const by = { last: ['late'], recover: ['onset'], factor: ['late', 'onset'] };
    return (by[name] ?? ['late', 'onset', 'trend']).includes(definition);
  }

  /** Say which numbers are not used because they are none that the rule could have. */
  function showProblems() {
    const names = [...lop.NUMBERS, ...lop.COUNTS].filter((name) => $(name).getAttribute('aria-invalid') === 'true');
    const wants = (name) => `${name} must be ${lop.COUNTS.includes(name) ? 'a whole number of at least 1' : 'a number of at least 0'}`;
    $('invalid').textContent = names.length ? `${names.map(wants).join('; ')}. The map still follows the last valid one.` : '';
  }

  /** Write the state into the form; a number that is being typed is left alone. */
  function showState(sweep, state, change) {
    for (const name of ['x', 'y', 'score', 'theme']) $(name).value = state[name];
    $('definition').value = state.rule.definition;
    for (const name of [...lop.NUMBERS, ...lop.COUNTS]) {
      const input = $(name);
      if (document.activeElement !== input) {
        input.value = state.rule[name] === null ? '' : name === 'chance' ? Number(state.rule[name].toPrecision(6)) : state.rule[name];
        input.removeAttribute('aria-invalid');
      }
      input.closest('label').classList.toggle('unused', !used(name, state.rule.definition));
    }
    showProblems();
    for (const name of ['boundary', 'numbers']) $(name).checked = state[name];
    const keys = Object.keys(state.at).join();
    if ($('slices').dataset.keys !== keys) {
      slices(sweep, state, change);
      $('slices').dataset.keys = keys;
    }
    for (const [name, index] of Object.entries(state.at)) $(`at-${name}`).value = String(index);
    document.documentElement.dataset.theme = state.theme;
  }

  function thinnedNote(sweep) {
    const { resolution, cells } = sweep.about;
    const longest = sweep.arrays.tasks.reduce((a, b) => Math.max(a, b), 1);
    const step = (blocks) => lop.stride(longest, blocks);
    const notes = [];
    if (resolution.final_ce) {
      notes.push(`${lop.count(cells, 'cell')} are too many for every task's loss: CE curves are means over up to ${step(resolution.final_ce)} tasks, and what needs every task (onsets, other late windows) is switched off.`);
    }
    if (step(resolution.curves) > 1) notes.push(`Other curves are means over up to ${step(resolution.curves)} tasks, layers over ${step(resolution.layers)}, to keep this file small.`);
    else if (step(resolution.layers) > 1) notes.push(`To keep this file small, the layers' maps show means over up to ${step(resolution.layers)} tasks.`);
    return notes.join(' ');
  }

  /** Fill the form once and listen to it; `change` takes a function from the old state to the new. */
  function setUp(sweep, change) {
    const names = sweep.about.fields.map(({ name }) => [name, name]);
    fill($('x'), names);
    fill($('y'), names);
    const shown = lop.allShown(sweep);
    $('score').replaceChildren(
      group('Loss of plasticity', shown.filter((s) => s.judged || s.colours)),
      group('Measures', shown.filter((s) => !s.judged && !s.colours)),
    );
    for (const axis of ['x', 'y']) $(axis).addEventListener('change', () => change((now) => lop.withAxes(sweep, now, { [axis]: $(axis).value })));
    for (const name of ['score', 'theme']) $(name).addEventListener('change', () => change((now) => ({ ...now, [name]: $(name).value })));
    $('definition').addEventListener('change', () => change((now) => ({ ...now, rule: { ...now.rule, definition: $('definition').value } })));
    for (const name of [...lop.NUMBERS, ...lop.COUNTS]) {
      $(name).addEventListener('input', () => {
        const read = $(name).validity.badInput ? null : lop.readRuleValue(name, $(name).value);
        $(name).setAttribute('aria-invalid', String(!read));
        showProblems();
        if (read) change((now) => ({ ...now, rule: { ...now.rule, [name]: read.value } }));
      });
    }
    for (const name of ['boundary', 'numbers']) $(name).addEventListener('change', () => change((now) => ({ ...now, [name]: $(name).checked })));
    $('reset').addEventListener('click', () => change((now) => ({ ...now, rule: lop.ownRule(sweep) })));
    $('controls').addEventListener('submit', (event) => event.preventDefault());
    $('thinned').textContent = thinnedNote(sweep);
    if (!lop.hasEveryTask(sweep)) {
      $('definition').querySelector('[value=onset]').disabled = true;
      for (const name of ['last', 'hold', 'recover']) $(name).disabled = true;
    }
  }

  Object.assign(lop, { setUp, showState });
})();
