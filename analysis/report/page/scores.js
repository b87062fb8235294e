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

  /** Mean over those of the last tasks that have a value. */
  function lateMeanOfKnown({ values, step }, tasks, late) {
    const known = values.subarray(Math.floor((tasks - late) / step)).filter((value) => !Number.isNaN(value));
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
  }

  /** A metric over the late tasks: from the data under the report's own criterion, else from the sequences. */
  function lateValues(sweep, metric, criterion) {
    const { about, arrays } = sweep;
    const own = arrays[`late_${metric}`];
    if (criterion.last === about.criterion.last) return own;
    const { late_statistic: statistic, of_control: ofControl } = sweep.metrics.get(metric);
    const summarise = ofControl ? lateMeanOfKnown : statistic === 'median' ? lateMedian : lateMean;
    return late(sweep, metric, criterion, summarise).map((value, cell) =>
      (metric === lop.MAIN && Number.isNaN(own[cell]) ? NaN : value));
  }

  function late(sweep, metric, criterion, summarise) {
    const { about, arrays } = sweep;
    const values = new Float64Array(sweep.n).fill(NaN);
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const tasks = arrays.tasks[cell];
      if (arrays.diverged_at[cell] === 0) {
        values[cell] = summarise(lop.sequence(sweep, metric, cell), tasks, lateTasks(about, criterion, tasks));
      }
    }
    return values;
  }

  /** Mean of the loss by which late tasks are judged. */
  function lateLoss(sweep, criterion) {
    if (criterion.last === sweep.about.criterion.last) return sweep.arrays.late_ce;
    return late(sweep, lop.MAIN, criterion, lateMean);
  }

  /** Whether a loss is that of a failed task; `fresh` is the median of fresh networks. */
  function hasFailed(loss, fresh, { margin, factor }) {
    return loss - fresh > margin && loss > factor * fresh;
  }

  /** The median loss of the fresh networks of a cell's configuration. */
  function freshOf({ arrays }, cell) {
    return arrays['fresh.median'][arrays['fresh.group'][cell]];
  }

  /** How many fresh networks of each configuration failed. */
  function freshFailures({ arrays }, criterion) {
    const { 'fresh.losses': losses, 'fresh.size': sizes, 'fresh.median': medians } = arrays;
    let start = 0;
    return Array.from(sizes, (size, group) => {
      const own = losses.subarray(start, (start += size));
      return own.reduce((sum, loss) => sum + (loss === Infinity || hasFailed(loss, medians[group], criterion) ? 1 : 0), 0);
    });
  }

  /**
   * How many late tasks of each cell failed, NaN where that is unknown, and how many fresh networks of its configuration.
   * Without the loss of every task, they are counted by the report's own thresholds.
   */
  function failures(sweep, asked) {
    const { about, arrays, n } = sweep;
    const criterion = lop.hasEveryTask(sweep) ? asked : about.criterion;
    const fresh = freshFailures(sweep, criterion);
    const late = Float64Array.from({ length: n }, (_, cell) => {
      if (!lop.hasEveryTask(sweep)) return arrays.late_failures[cell];
      const median = freshOf(sweep, cell);
      if (arrays.diverged_at[cell] !== 0 || !Number.isFinite(median)) return NaN;
      const { values } = lop.sequence(sweep, lop.MAIN, cell);
      const some = values.subarray(values.length - lateTasks(about, criterion, values.length));
      return some.reduce((sum, loss) => sum + (hasFailed(loss, median, criterion) ? 1 : 0), 0);
    });
    return { late, fresh: Float64Array.from({ length: n }, (_, cell) => fresh[arrays['fresh.group'][cell]]) };
  }

  /**
   * The late tasks of a cell that have a control: their number, in how many the network failed against the control and the
   * other way round, the mean of its loss minus the control's, and the median loss of the controls.
   */
  function pairsOf(sweep, criterion, cell) {
    const { about, arrays, starts } = sweep;
    const none = { pairs: 0, worse: 0, better: 0, excess: NaN, level: NaN };
    if (!('control' in arrays)) return none;
    const [begin, end] = [starts.rows[cell], starts.rows[cell + 1]];
    const controls = [];
    let [worse, better, sum] = [0, 0, 0];
    for (let row = end - lateTasks(about, criterion, end - begin); row < end; row += 1) {
      const [loss, control] = [arrays.loss[row], arrays.control[row]];
      if (Number.isNaN(loss) || Number.isNaN(control)) continue;
      controls.push(control);
      sum += loss - control;
      worse += hasFailed(loss, control, criterion) ? 1 : 0;
      better += hasFailed(control, loss, criterion) ? 1 : 0;
    }
    if (controls.length === 0) return none;
    return { pairs: controls.length, worse, better, excess: sum / controls.length, level: lop.median(controls) };
  }

  /** Where the tables of evidence for m late tasks and N fresh networks begin. */
  function evidenceAt({ networks, tasks }, m, n) {
    let start = 0;
    for (const one of networks) {
      if (one === n) return start + (m - 1) * (n + 1);
      start += tasks * (one + 1);
    }
    return NaN;
  }

  /** Onset, first recovery, and whether each cell is in a loss after its last task: tasks are NaN for never. */
  function onsets(sweep, criterion) {
    const { diverged_at: divergedAt, loss: losses } = sweep.arrays;
    const starts = sweep.starts.rows;
    const onset = new Float64Array(sweep.n).fill(NaN);
    const recovery = new Float64Array(sweep.n).fill(NaN);
    const within = new Uint8Array(sweep.n);
    if (!lop.hasEveryTask(sweep)) return { onset, recovery, within };
    const { hold, recover } = criterion;
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const fresh = freshOf(sweep, cell);
      let run = 0;
      for (let i = starts[cell], task = 1; i < starts[cell + 1] && divergedAt[cell] === 0; i += 1, task += 1) {
        run = hasFailed(losses[i], fresh, criterion) === (within[cell] === 1) ? 0 : run + 1;
        if (run !== (within[cell] ? recover : hold)) continue;
        const turn = within[cell] ? recovery : onset;
        if (Number.isNaN(turn[cell])) turn[cell] = task - run + 1;
        within[cell] = 1 - within[cell];
        run = 0;
      }
    }
    return { onset, recovery, within };
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

  const ALWAYS = () => true;

  /** For each definition what it calls a cell, one of the indices that it is given, and whether its sequence is long enough to say so. */
  const RULES = {
    rate: {
      judge: ({ about, arrays }, criterion, { late, fresh }, cell, { lost, plastic, undecided }) => {
        const networks = arrays['fresh.size'][arrays['fresh.group'][cell]];
        const m = lateTasks(about, criterion, arrays.tasks[cell]);
        const at = evidenceAt(about.evidence, m, networks) + fresh[cell];
        if (late[cell] >= arrays['evidence.lost'][at]) return lost;
        return late[cell] <= arrays['evidence.plastic'][at] ? plastic : undecided;
      },
      hasEnoughTasks: ALWAYS,
    },
    mean: {
      judge: ({ arrays }, criterion, { lateCe }, cell, { lost, plastic }) =>
        (hasFailed(lateCe[cell], arrays.fresh_mean_ce[cell], criterion) ? lost : plastic),
      hasEnoughTasks: ALWAYS,
    },
    onset: {
      judge: (_, __, { within }, cell, { lost, plastic }) => (within[cell] ? lost : plastic),
      hasEnoughTasks: ({ arrays }, { hold }, cell) => arrays.tasks[cell] >= hold,
    },
    trend: {
      judge: ({ arrays }, { margin }, _, cell, { lost, plastic }) => {
        const rises = arrays.slope_low[cell] > 0 && arrays.slope[cell] * (arrays.tasks[cell] - 1) > margin;
        return rises ? lost : plastic;
      },
      hasEnoughTasks: ({ arrays }, _, cell) => !Number.isNaN(arrays.slope_low[cell]),
    },
    paired: {
      judge: ({ arrays }, _, { paired }, cell, { lost, plastic, undecided }) => {
        const { pairs, worse, better } = paired(cell);
        const at = (pairs * (pairs + 1)) / 2 + better;
        if (worse >= arrays['paired.lost'][at]) return lost;
        return worse <= arrays['paired.plastic'][at] ? plastic : undecided;
      },
      hasEnoughTasks: ALWAYS,
      compared: (_, { paired }, cell) => ({ number: paired(cell).pairs, level: paired(cell).level }),
    },
  };

  /** With how many fresh networks a cell is compared, and their median loss. */
  function withFresh(sweep, _, cell) {
    return { number: sweep.arrays.baseline[cell], level: freshOf(sweep, cell) };
  }

  /** The verdict of each cell, by its index in `about.verdicts`. */
  function verdictsOf(sweep, criterion, facts) {
    const { diverged_at: divergedAt } = sweep.arrays;
    const indices = lop.indicesOf(sweep.about.verdicts);
    const { judge, hasEnoughTasks, compared = withFresh } = RULES[criterion.definition];
    return Uint8Array.from({ length: sweep.n }, (_, cell) => {
      if (divergedAt[cell] !== 0) return indices.diverged;
      const { number, level } = compared(sweep, facts, cell);
      if (number === 0) return indices.noBaseline;
      if (!(level < (criterion.chance ?? sweep.arrays.chance[cell]))) return indices.untrainable;
      if (!hasEnoughTasks(sweep, criterion, cell)) return indices.tooShort;
      return judge(sweep, criterion, facts, cell, indices);
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
   * not reached are infinite in it. `category(name)` gives indices in `about.verdicts` or `about.first`. `verdict` and `lost`
   * are as in the table. `onset` is NaN where the cell is neither lost nor plastic, or has no fresh networks.
   */
  function score(sweep, criterion) {
    const { about, arrays, n } = sweep;
    const lateCe = lateLoss(sweep, criterion);
    const events = onsets(sweep, criterion);
    const failed = failures(sweep, criterion);
    const pairs = new Map();
    const paired = (cell) => {
      if (!pairs.has(cell)) pairs.set(cell, pairsOf(sweep, criterion, cell));
      return pairs.get(cell);
    };
    const verdict = verdictsOf(sweep, criterion, { lateCe, paired, ...failed, ...events });
    const { lost: isLost, plastic, undecided } = lop.indicesOf(about.verdicts);
    const lost = Float64Array.from(verdict, (v) => (v === isLost ? 1 : v === plastic || v === undecided ? 0 : NaN));
    const hasOnset = (cell) => !Number.isNaN(lost[cell]) && Number.isFinite(freshOf(sweep, cell));
    const ifDecidable = (tasks) => tasks.map((task, cell) => (hasOnset(cell) ? task : NaN));
    const scores = { verdict, lost, onset: ifDecidable(events.onset), recovery: ifDecidable(events.recovery) };
    const late = (metric) => scores.column(`late_${metric}`);
    const map = (of) => Float64Array.from({ length: n }, (_, cell) => of(cell));
    const early = (metric) => arrays[`early_${metric}`];
    const growth = (metric) => map((cell) => late(metric)[cell] - early(metric)[cell]);
    const collapse = (metric) =>
      map((cell) => (early(metric)[cell] === 0 ? NaN : 1 - late(metric)[cell] / early(metric)[cell]));
    const makers = {
      lost: () => lost,
      late_failure_rate: () => map((cell) => failed.late[cell] / lateTasks(about, criterion, arrays.tasks[cell])),
      fresh_failure_rate: () => map((cell) => failed.fresh[cell] / arrays['fresh.size'][arrays['fresh.group'][cell]]),
      excess: () => map((cell) => lateCe[cell] - arrays.fresh_mean_ce[cell]),
      ratio: () => map((cell) => lateCe[cell] / arrays.fresh_mean_ce[cell]),
      log_ratio: () => map((cell) => Math.log10(lateCe[cell] / arrays.fresh_mean_ce[cell])),
      excess_paired: () => map((cell) => (arrays.diverged_at[cell] === 0 ? paired(cell).excess : NaN)),
      onset: () => map((c) => (hasOnset(c) && Number.isNaN(scores.onset[c]) ? Infinity : scores.onset[c])),
      recovery: () => scores.recovery,
      rank_collapse: () => collapse(about.metric_of.rank),
      duplicates_growth: () => growth(about.metric_of.duplicates),
      saturation_growth: () => growth(about.metric_of.saturation),
      late_ce: () => lateCe,
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
    scores.category = (name) => (name === 'verdict' ? verdict : scores.symptoms().first);
    return scores;
  }

  /** Whether late values of a metric include tasks before the late ones, because the data are means over blocks. */
  function isRough(sweep, metric, criterion) {
    if (criterion.last === sweep.about.criterion.last) return false;
    const blocks = sweep.about.resolution[metric === lop.MAIN ? 'loss' : 'curves'];
    return sweep.arrays.tasks.some((tasks) => lop.stride(tasks, blocks) > 1);
  }

  Object.assign(lop, { score, isRough });
})();
