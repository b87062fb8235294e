/** Colour scales: what a score's colours mean, where they end, and the colour bar's ticks. */
(function () {
  'use strict';

  const lop = window.lop;
  const VIK = ['#001261', '#022b71', '#034481', '#0c5e92', '#307da6', '#619ebd', '#94bed2', '#c6dbe6', '#ece5e0',
    '#e9cab8', '#dbaa8d', '#cf8c66', '#c27041', '#b2511d', '#912d06', '#731406', '#590008'];
  const VIRIDIS = ['#440154', '#48186a', '#472d7b', '#424086', '#3b528b', '#33638d', '#2c728e', '#26828e', '#21918c',
    '#1fa088', '#28ae80', '#3fbc73', '#5ec962', '#84d44b', '#addc30', '#d8e219', '#fde725'];
  const TRIMMED = 100;

  const even = (colours) => colours.map((colour, index) => [index / (colours.length - 1), colour]);

  /** How each score is coloured; scores that are not named here are linear. */
  const KINDS = {
    excess: 'excess', log_ratio: 'ratio', lost: 'chance of loss', onset: 'time', slope: 'around zero',
    area_excess: 'around zero', area_ce: 'log', late_ce: 'log', late_min_ce: 'log', fresh_ce: 'log', grad_norm: 'log',
    duplicate_fraction: 'share', saturation: 'share',
    rank_collapse: 'change', duplicates_growth: 'change', saturation_growth: 'change',
  };

  /** The finite values of a column, without the outermost percent on either side where there are many. */
  function limits(values, positive) {
    const known = Float64Array.from(values).filter((v) => Number.isFinite(v) && (!positive || v > 0)).sort();
    if (known.length === 0) return [NaN, NaN];
    const cut = known.length > TRIMMED ? Math.floor(known.length / 100) : 0;
    return [known[cut], known[known.length - 1 - cut]];
  }

  function spread([low, high], least) {
    if (Number.isNaN(low)) return [0, 1];
    return high > low ? [low, high] : [low - least, high + least];
  }

  /**
   * The scale of a score: `colours`, and `low` and `high` where they end, in what `draw` makes of a value. It is that
   * of all cells, so that slices can be compared.
   */
  function scaleOf(sweep, scores, shown) {
    const { rule } = scores;
    const centred = (centre, half) => ({ colours: even(VIK), low: centre - half, high: centre + half, draw: (v) => v });
    const linear = (low, high, colours = VIRIDIS) => ({ colours: even(colours), low, high, draw: (v) => v });
    const column = scores.column(shown.column);
    switch (KINDS[shown.name]) {
      case 'excess': return centred(rule.margin, Math.LN2);
      case 'ratio': return centred(rule.factor > 0 ? Math.log10(rule.factor) : 0, 2);
      case 'chance of loss': return centred(0.5, 0.5);
      case 'change': return centred(0, 1);
      case 'around zero': {
        const [low, high] = limits(column, false);
        return centred(0, Math.max(Math.abs(low), Math.abs(high)) || 1);
      }
      case 'share': return linear(0, 1);
      case 'time': return linear(1, Math.max(2, sweep.arrays.tasks.reduce((a, b) => Math.max(a, b), 1)), VIRIDIS.slice().reverse());
      case 'log': {
        const [low, high] = spread(limits(column, true).map(Math.log10), 0.5);
        const ticks = logTicks(low, high, 9);
        const marks = { tickvals: ticks.map(Math.log10), ticktext: ticks.map((tick) => lop.number(tick, 2)) };
        return { ...linear(low, high), draw: (v) => (v > 0 ? Math.log10(v) : -Infinity), ...marks };
      }
      default: return linear(...spread(limits(column, false), 0.5));
    }
  }

  /** At most so many ticks between two powers of ten: at whole powers; at 1, 2 and 5 times them where there would be too few. */
  function logTicks(low, high, most) {
    const make = (factors) => {
      const ticks = [];
      for (let power = Math.floor(low); power <= high; power += 1) {
        for (const factor of factors) ticks.push(factor * 10 ** power);
      }
      return ticks.filter((tick) => Math.log10(tick) >= low - 1e-9 && Math.log10(tick) <= high + 1e-9);
    };
    let ticks = make([1]);
    if (ticks.length < 3) ticks = make([1, 2, 5]);
    if (ticks.length < 2) ticks = [10 ** low, 10 ** high];
    if (ticks.length > most) ticks = ticks.filter((_, index) => index % Math.ceil(ticks.length / most) === 0);
    return ticks;
  }

  /** The scale of a category: one step a name. */
  function stepsOf(shown) {
    const names = Object.keys(shown.colours);
    const colours = names.flatMap((name, i) => [
      [i / names.length, shown.colours[name]],
      [(i + 1) / names.length, shown.colours[name]],
    ]);
    const tickvals = names.map((_, index) => index);
    return { colours, low: -0.5, high: names.length - 0.5, draw: (v) => v, tickvals, ticktext: names };
  }

  Object.assign(lop, { scaleOf, logTicks, stepsOf, viridis: even(VIRIDIS) });
})();
