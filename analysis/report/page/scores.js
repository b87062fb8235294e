/**
 * Scores of all cells under a criterion, as `analysis.scoring` computes them, because the criterion can be changed here.
 * Scores that no criterion changes (slopes, areas, early means) come with the data.
 */
(function () {
  'use strict';

  const lop = window.lop;

  /** As Python rounds: halves to the even neighbour. */
  function roundHalfEven(value) {
    const below = Math.floor(value);
    const rest = value - below;
    if (rest !== 0.5) return Math.round(value);
    return below % 2 === 0 ? below : below + 1;
  }

  /** The number of late tasks in a sequence of this length. */
  function lateTasks(about, criterion, tasks) {
    if (criterion.last === null) return Math.max(1, roundHalfEven(tasks * about.late_share));
    return Math.min(criterion.last, tasks);
  }

  /** Mean over the last tasks; where values stand for blocks of tasks, the first block counts by its late part. */
  function lateMean({ values, step }, tasks, late) {
    let sum = 0;
    let task = tasks;
    for (let i = values.length - 1; i >= 0 && task > tasks - late; i -= 1) {
      const begin = i * step;
      sum += values[i] * (task - Math.max(begin, tasks - late));
      task = begin;
    }
    return sum / late;
  }

  /** Median over the last tasks; where values stand for blocks of tasks, over the blocks that reach into them. */
  function lateMedian({ values, step }, tasks, late) {
    const first = Math.floor((tasks - late) / step);
    const some = values.subarray(first);
    return some.some(Number.isNaN) ? NaN : lop.median(some);
  }

  /** A metric over the late tasks: from the data under the report's own criterion, else from the sequences. */
  function lateValues(sweep, metric, criterion) {
    const { about, arrays } = sweep;
    if (criterion.last === about.criterion.last) return arrays[`late_${metric}`];
    const summarise = sweep.metrics.get(metric).late_statistic === 'median' ? lateMedian : lateMean;
    const late = new Float64Array(sweep.n).fill(NaN);
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const tasks = arrays.tasks[cell];
      if (arrays.diverged_at[cell] === 0) {
        late[cell] = summarise(lop.sequence(sweep, metric, cell), tasks, lateTasks(about, criterion, tasks));
      }
    }
    return late;
  }

  /** Onset and recovery of the loss of each cell: first tasks, NaN for never. */
  function onsets(sweep, criterion) {
    const { final_ce: final, fresh_ce: freshOf, diverged_at: divergedAt } = sweep.arrays;
    const starts = sweep.starts.rows;
    const onset = new Float64Array(sweep.n).fill(NaN);
    const recovery = new Float64Array(sweep.n).fill(NaN);
    if (sweep.about.resolution.final_ce !== 0) return { onset, recovery };
    const { margin, factor, hold, recover } = criterion;
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const fresh = freshOf[cell];
      const limit = factor * fresh;
      let run = 0;
      let since = 0;
      for (let i = starts[cell], task = 1; i < starts[cell + 1] && divergedAt[cell] === 0; i += 1, task += 1) {
        const worse = final[i] - fresh > margin && final[i] > limit;
        if (since === 0) {
          run = worse ? run + 1 : 0;
          if (run === hold) {
            since = task - hold + 1;
            onset[cell] = since;
            run = 0;
          }
        } else {
          run = worse ? 0 : run + 1;
          if (run === recover) {
            recovery[cell] = task - recover + 1;
            break;
          }
        }
      }
    }
    return { onset, recovery };
  }

  /** First task from which a symptom's threshold is crossed for `hold` tasks in a row. */
  function symptomAt(sweep, symptom, hold) {
    const bits = sweep.arrays[`symptom.${symptom}`];
    const starts = sweep.starts.rows;
    const at = new Float64Array(sweep.n).fill(NaN);
    for (let cell = 0; cell < sweep.n; cell += 1) {
      for (let row = starts[cell], run = 0; row < starts[cell + 1]; row += 1) {
        run = (bits[row >> 3] >> (row & 7)) & 1 ? run + 1 : 0;
        if (run === hold) {
          at[cell] = row - starts[cell] - hold + 2;
          break;
        }
      }
    }
    return at;
  }

  /** For each definition whether a cell is lost, and whether its sequence is long enough to say so. */
  const RULES = {
    late: {
      isLost: ({ arrays }, { margin, factor }, { lateCe }, cell) =>
        lateCe[cell] - arrays.fresh_ce[cell] > margin && lateCe[cell] > factor * arrays.fresh_ce[cell],
      hasEnoughTasks: () => true,
    },
    onset: {
      isLost: (_, __, { onset, recovery }, cell) => !Number.isNaN(onset[cell]) && Number.isNaN(recovery[cell]),
      hasEnoughTasks: ({ arrays }, { hold }, cell) => arrays.tasks[cell] >= hold,
    },
    trend: {
      isLost: ({ arrays }, { margin }, _, cell) =>
        arrays.slope_low[cell] > 0 && arrays.slope[cell] * (arrays.tasks[cell] - 1) > margin,
      hasEnoughTasks: ({ arrays }, _, cell) => !Number.isNaN(arrays.slope_low[cell]),
    },
  };

  /** The phase of each cell, by its index in `about.phases`. */
  function phasesOf(sweep, criterion, losses) {
    const { fresh_median_ce: fresh, diverged_at: divergedAt, baseline } = sweep.arrays;
    const { plastic, lost, untrainable, diverged, noBaseline, tooShort } = lop.indicesOf(sweep.about.phases);
    const { isLost, hasEnoughTasks } = RULES[criterion.definition];
    return Uint8Array.from({ length: sweep.n }, (_, cell) => {
      if (divergedAt[cell] !== 0) return diverged;
      if (baseline[cell] === 0) return noBaseline;
      if (!(fresh[cell] < criterion.chance)) return untrainable;
      if (!hasEnoughTasks(sweep, criterion, cell)) return tooShort;
      return isLost(sweep, criterion, losses, cell) ? lost : plastic;
    });
  }

  /** Which symptom preceded the loss first, by its index in `about.first`, and by how many tasks. */
  function firstSymptoms(sweep, criterion, scores) {
    const { about } = sweep;
    const at = about.symptoms.map((name) => symptomAt(sweep, name, criterion.hold));
    const { severalAtOnce, noneBeforeTheLoss, noOnsetSeen, noLoss, undefined: unknown } = lop.indicesOf(about.first);
    const first = new Uint8Array(sweep.n);
    const lead = new Float64Array(sweep.n).fill(NaN);
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const onset = scores.onset[cell];
      const before = at.map((tasks) => (scores.lost[cell] === 1 && tasks[cell] < onset ? tasks[cell] : Infinity));
      const earliest = Math.min(...before);
      if (Number.isFinite(earliest)) lead[cell] = onset - earliest;
      first[cell] = about.first.indexOf(about.symptoms[before.indexOf(earliest)]);
      if (Number.isNaN(scores.lost[cell])) first[cell] = unknown;
      else if (scores.lost[cell] !== 1) first[cell] = noLoss;
      else if (Number.isNaN(onset)) first[cell] = noOnsetSeen;
      else if (!Number.isFinite(earliest)) first[cell] = noneBeforeTheLoss;
      else if (before.filter((task) => task === earliest).length > 1) first[cell] = severalAtOnce;
    }
    return { first, lead };
  }

  /**
   * The scores of all cells under a criterion.
   *
   * `column(name)` gives the column of `analysis.scoring.table` with this name, computed on first use; onsets that were
   * not reached are infinite in it. `category(name)` gives indices in `about.phases` or `about.first`. `phase` and `lost`
   * are as in the table. `onset` is NaN where the cell is neither lost nor plastic.
   */
  function score(sweep, criterion) {
    const { about, arrays, n } = sweep;
    const lateCe = lateValues(sweep, 'final_ce', criterion);
    const events = onsets(sweep, criterion);
    const phase = phasesOf(sweep, criterion, { lateCe, ...events });
    const indices = lop.indicesOf(about.phases);
    const lost = Float64Array.from(phase, (p) => (p === indices.lost ? 1 : p === indices.plastic ? 0 : NaN));
    const ifDecidable = (tasks) => tasks.map((task, cell) => (Number.isNaN(lost[cell]) ? NaN : task));
    const scores = { phase, lost, onset: ifDecidable(events.onset), recovery: ifDecidable(events.recovery) };
    const late = (metric) => scores.column(`late_${metric}`);
    const map = (of) => Float64Array.from({ length: n }, (_, cell) => of(cell));
    const early = (metric) => arrays[`early_${metric}`];
    const growth = (metric) => map((cell) => late(metric)[cell] - early(metric)[cell]);
    const collapse = (metric) =>
      map((cell) => (early(metric)[cell] === 0 ? NaN : 1 - late(metric)[cell] / early(metric)[cell]));
    const makers = {
      lost: () => lost,
      excess: () => map((cell) => lateCe[cell] - arrays.fresh_ce[cell]),
      ratio: () => map((cell) => lateCe[cell] / arrays.fresh_ce[cell]),
      log_ratio: () => map((cell) => Math.log10(lateCe[cell] / arrays.fresh_ce[cell])),
      onset: () => map((c) => (lost[c] >= 0 && Number.isNaN(scores.onset[c]) ? Infinity : scores.onset[c])),
      recovery: () => scores.recovery,
      rank_collapse: () => collapse(about.metric_of.rank),
      duplicates_growth: () => growth(about.metric_of.duplicates),
      saturation_growth: () => growth(about.metric_of.saturation),
      late_final_ce: () => lateCe,
      lead: () => scores.symptoms().lead,
    };
    for (const metric of sweep.metrics.keys()) makers[`late_${metric}`] ??= () => lateValues(sweep, metric, criterion);
    const columns = new Map();
    scores.column = (name) => {
      if (!columns.has(name)) columns.set(name, makers[name] ? makers[name]() : arrays[name]);
      return columns.get(name);
    };
    let symptoms = null;
    scores.symptoms = () => (symptoms ??= firstSymptoms(sweep, criterion, scores));
    scores.category = (name) => (name === 'phase' ? phase : scores.symptoms().first);
    return scores;
  }

  /** Whether late values of a metric include tasks before the late ones, because the data are means over blocks. */
  function isRough(sweep, metric, criterion) {
    if (criterion.last === sweep.about.criterion.last) return false;
    const blocks = sweep.about.resolution[metric === 'final_ce' ? 'final_ce' : 'curves'];
    return sweep.arrays.tasks.some((tasks) => lop.stride(tasks, blocks) > 1);
  }

  Object.assign(lop, { score, isRough });
})();
