/** The numbers of a point, as rows of text: beside the mouse, for the keyboard's cursor, and above the details. */
(function () {
  'use strict';

  const lop = window.lop;

  function withRange({ value, low, high, defined }, unit) {
    const text = [lop.number(value), unit].filter(Boolean).join(' ');
    return defined > 1 ? `${text} (seeds ${lop.number(low)} to ${lop.number(high)})` : text;
  }

  function lostRow(sweep, { lost, decidable }) {
    if (decidable === 0) return 'undecidable here';
    const share = `${lost} of ${lop.count(decidable, 'network')}`;
    const ends = lop.intervalOf(sweep, lost, decidable);
    return ends ? `${share}, ${sweep.about.interval} ${ends[0]}% to ${ends[1]}%` : share;
  }

  function fittedText({ about }, { value, low, high }) {
    return `${lop.number(value, 2)}, ${about.interval} ${lop.number(low, 2)} to ${lop.number(high, 2)}`;
  }

  /** The fitted rates of a point, without the one that the map shows. */
  function fittedRows({ sweep, fit, variable }, index) {
    const others = sweep.about.fitted.filter((one) => one.name !== variable.name);
    const found = others.map((one) => [one.short, fit?.rates(one.rate, index)]);
    return found.filter(([, of]) => of).map(([name, of]) => [name, fittedText(sweep, { ...of, value: of.rate })]);
  }

  /** A field with one of its values: "lr = 0.1". */
  function fieldText({ name, names, binned }, index) {
    return `${name} ${binned ? '≈' : '='} ${names[index]}`;
  }

  /** The name of a point: its values of the axes, and those of the slice. */
  function pointName(view, layout, point) {
    const slice = Object.entries(view.at).filter(([, index]) => index !== lop.ALL);
    return [
      fieldText(layout.x, point.x), fieldText(layout.y, point.y),
      ...slice.map(([name, index]) => fieldText(view.sweep.fields.get(name), index)),
    ].join(', ');
  }

  function scoreRow({ sweep, variable }, point) {
    if (variable.colours) {
      const lead = Number.isNaN(point.lead) ? '' : `, ${lop.count(point.lead, 'task')} ahead`;
      return point.name ? `${point.name} (${point.number} of ${point.defined}${lead})` : 'undefined';
    }
    if (point.defined === 0) return 'undefined';
    if (variable.rate) return fittedText(sweep, point);
    const text = withRange(point, variable.unit).replaceAll('∞', 'not within the tasks');
    return point.defined < point.cells ? `${text}, known for ${point.defined} of ${point.cells}` : text;
  }

  /** A metric of a point's cells, or null where it is undefined because they diverged. */
  function metricRow({ sweep, scores }, variable, cells) {
    const found = lop.summary(scores, variable, cells);
    if (found.defined) return [variable.short, withRange(found, variable.unit)];
    const { metric, short } = variable;
    return metric && !lop.isMeasured(sweep, metric, cells) ? [short, 'not measured'] : null;
  }

  /** Rows of `[name, text]` with everything known of a point. */
  function pointRows(view, layout, point) {
    const index = point.y * layout.columns + point.x;
    const of = view.points[index];
    const { about } = view.sweep;
    if (of.cells === 0 && of.missing > 0) return [['cells', `${lop.count(of.missing, 'cell')} not computed yet`]];
    if (of.cells === 0) return [['cells', 'none in the sweep']];
    const cells = layout.cellsOf(index);
    const metrics = about.scores.filter((score) => score.is_fact && score.column !== view.variable.column);
    const rows = [
      ...(view.variable.column === 'lost' ? [] : [[view.variable.short, scoreRow(view, of)]]),
      [about.scores.find((score) => score.column === 'lost').short, lostRow(view.sweep, of)],
      ...fittedRows(view, index),
      ['verdicts', lop.verdictCounts(of.verdicts, about.verdicts)],
      ...metrics.map((score) => metricRow(view, score, cells)).filter(Boolean),
    ];
    if (of.missing) rows.push(['not computed', lop.count(of.missing, 'cell')]);
    if (of.defined > 0 && of.defined < about.min_seeds) rows.push(['few seeds', `only ${of.defined}, not reliable`]);
    return rows;
  }

  function rowsHtml(rows) {
    return `<dl>${rows.map(([name, text]) => `<dt>${lop.escape(name)}</dt><dd>${lop.escape(text)}</dd>`).join('')}</dl>`;
  }

  function showTip(view, layout, point, left, top) {
    const tip = document.getElementById('tip');
    tip.innerHTML = `<strong>${lop.escape(pointName(view, layout, point))}</strong>${rowsHtml(pointRows(view, layout, point))}`;
    tip.hidden = false;
    const gap = 14;
    const x = left + gap + tip.offsetWidth > window.innerWidth ? left - gap - tip.offsetWidth : left + gap;
    const y = Math.min(top + gap, window.innerHeight - tip.offsetHeight - 4);
    tip.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
  }

  function hideTip() {
    document.getElementById('tip').hidden = true;
  }

  /** Say a point's numbers to a screen reader. */
  function announce(view, layout, point) {
    const rows = pointRows(view, layout, point).map(([name, text]) => `${name}: ${text}`);
    document.getElementById('live').textContent = [pointName(view, layout, point), ...rows].join('. ');
  }

  Object.assign(lop, { fieldText, pointName, pointRows, rowsHtml, showTip, hideTip, announce });
})();
