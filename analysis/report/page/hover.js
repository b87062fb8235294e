/** The numbers of a point, as rows of text: beside the mouse, for the keyboard's cursor, and over the details. */
(function () {
  'use strict';

  const lop = window.lop;
  const METRICS = [
    ['late_final_ce', 'late CE', 'nats'], ['fresh_ce', 'fresh CE', 'nats'], ['late_effective_rank', 'effective rank', ''],
    ['late_duplicate_fraction', 'duplicates', ''], ['late_saturation', 'saturation', ''],
  ];

  function withRange({ value, low, high, defined }, unit = '') {
    const text = [lop.number(value), unit].filter(Boolean).join(' ');
    return defined > 1 ? `${text} (seeds ${lop.number(low)} to ${lop.number(high)})` : text;
  }

  function lostRow({ lost, judged }) {
    if (judged === 0) return 'nothing can be judged here';
    const [low, high] = lop.wilson(lost, judged).map((share) => `${Math.round(100 * share)}%`);
    return `${lost} of ${lop.count(judged, 'network')}, 95% interval ${low} to ${high}`;
  }

  /** The name of a point: its axes' values, and those of the slice. */
  function pointName(view, layout, point) {
    const parts = [`${layout.x.name} = ${lop.setting(layout.x.values[point.x])}`, `${layout.y.name} = ${lop.setting(layout.y.values[point.y])}`];
    for (const [field, index] of Object.entries(view.at)) {
      if (index !== lop.ALL) parts.push(`${field} = ${lop.setting(view.sweep.fields.get(field).values[index])}`);
    }
    return parts.join(', ');
  }

  function scoreRow(view, layout, index) {
    const { shown } = view;
    const of = view.points[index];
    if (shown.colours) {
      const lead = Number.isNaN(of.lead) ? '' : `, ${lop.count(of.lead, 'task')} ahead`;
      return of.name ? `${of.name} (${of.number} of ${of.defined}${lead})` : 'undefined';
    }
    if (of.defined === 0) return 'undefined';
    const text = withRange(of).replaceAll('∞', 'not within the tasks');
    return of.defined < of.cells ? `${text}, known for ${of.defined} of ${of.cells}` : text;
  }

  /** Rows of `[name, text]` that say all about a point. */
  function pointRows(view, layout, point) {
    const index = point.y * layout.columns + point.x;
    const of = view.points[index];
    const { sweep, scores } = view;
    if (of.cells === 0) return [['cells', of.waiting ? `${lop.count(of.waiting, 'cell')} not computed yet` : 'none in the sweep']];
    const cells = layout.cellsOf(index);
    const rows = [
      [lop.shortLabel(view.shown), scoreRow(view, layout, index)],
      ['lost', lostRow(of)],
      ['phases', lop.phaseCounts(of.phases, sweep.about.phases)],
    ];
    for (const [column, name, unit] of METRICS) {
      const found = lop.summary(scores, { column, judged: false, statistic: 'mean' }, cells);
      if (found.defined && column !== view.shown.column) rows.push([name, withRange(found, unit)]);
    }
    if (of.waiting) rows.push(['not computed', lop.count(of.waiting, 'cell')]);
    if (of.defined > 0 && of.defined < sweep.about.few) rows.push(['few seeds', `${of.defined}: trust it little`]);
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

  Object.assign(lop, { pointName, pointRows, rowsHtml, showTip, hideTip, announce });
})();
