/**
 * Scores of all cells under a rule: `analysis/scores.py`, `rule.py` and `scoring.py` over again, because a rule can be
 * changed here. What no rule changes (slopes, areas, early means) comes with the data.
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

  /** How many tasks are late in a sequence of this length. */
  function lateTasks(rule, tasks) {
    return rule.last === null ? Math.max(1, roundHalfEven(tasks / 4)) : Math.min(rule.last, tasks);
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

  /** Median over the last tasks; where values stand for blocks of tasks, over those that reach into them. */
  function lateMedian({ values, step }, tasks, late) {
    const first = Math.floor((tasks - late) / step);
    const some = values.subarray(first);
    return some.some(Number.isNaN) ? NaN : lop.median(some);
  }

  /** What a measure is in late tasks: as it came with the data under their rule, else from the sequences. */
  function lateValues(sweep, measure, rule) {
    if (rule.last === sweep.about.rule.last) return sweep.arrays[`late_${measure}`];
    const summarise = sweep.about.late_medians.includes(measure) ? lateMedian : lateMean;
    const means = new Float64Array(sweep.n).fill(NaN);
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const tasks = sweep.arrays.tasks[cell];
      if (sweep.arrays.diverged_at[cell] === 0) {
        means[cell] = summarise(lop.sequence(sweep, measure, cell), tasks, lateTasks(rule, tasks));
      }
    }
    return means;
  }

  /** Onset and recovery of the loss of each cell: first tasks, NaN for never. */
  function onsets(sweep, rule) {
    const { final_ce: final, fresh_ce: freshOf, diverged_at: divergedAt } = sweep.arrays;
    const starts = sweep.starts.rows;
    const onset = new Float64Array(sweep.n).fill(NaN);
    const recovery = new Float64Array(sweep.n).fill(NaN);
    if (sweep.about.resolution.final_ce !== 0) return { onset, recovery };
    const { margin, factor, hold, recover } = rule;
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const fresh = freshOf[cell];
      const least = factor * fresh;
      let run = 0;
      let since = 0;
      for (let i = starts[cell], task = 1; i < starts[cell + 1] && divergedAt[cell] === 0; i += 1, task += 1) {
        const worse = final[i] - fresh > margin && final[i] > least;
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

  function isLost(sweep, rule, lateCe, { onset, recovery }, cell) {
    const { fresh_ce: fresh, slope, slope_low: low, tasks } = sweep.arrays;
    if (rule.definition === 'onset') return !Number.isNaN(onset[cell]) && Number.isNaN(recovery[cell]);
    if (rule.definition === 'trend') return low[cell] > 0 && slope[cell] * (tasks[cell] - 1) > rule.margin;
    return lateCe[cell] - fresh[cell] > rule.margin && lateCe[cell] > rule.factor * fresh[cell];
  }

  /** Whether a sequence has tasks enough for the definition. */
  function isDecided(sweep, rule, cell) {
    if (rule.definition === 'onset') return sweep.arrays.tasks[cell] >= rule.hold;
    return rule.definition !== 'trend' || !Number.isNaN(sweep.arrays.slope_low[cell]);
  }

  /** The phase of each cell, by its number in `about.phases`. */
  function phasesOf(sweep, rule, lateCe, events) {
    const { fresh_median_ce: fresh, diverged_at: divergedAt, baseline } = sweep.arrays;
    const number = Object.fromEntries(sweep.about.phases.map((name, index) => [name, index]));
    const phase = new Uint8Array(sweep.n);
    for (let cell = 0; cell < sweep.n; cell += 1) {
      let name = isLost(sweep, rule, lateCe, events, cell) ? 'lost' : 'plastic';
      if (divergedAt[cell] !== 0) name = 'diverged';
      else if (baseline[cell] === 0) name = 'no baseline';
      else if (!(fresh[cell] < rule.chance)) name = 'untrainable';
      else if (!isDecided(sweep, rule, cell)) name = 'too short';
      phase[cell] = number[name];
    }
    return phase;
  }

  /** Which symptom came before the loss first, by its number in `about.first`, and by how many tasks. */
  function firstSymptoms(sweep, rule, scores) {
    const names = sweep.about.symptoms;
    const at = names.map((name) => symptomAt(sweep, name, rule.hold));
    const number = Object.fromEntries(sweep.about.first.map((name, index) => [name, index]));
    const first = new Uint8Array(sweep.n);
    const lead = new Float64Array(sweep.n).fill(NaN);
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const onset = scores.onset[cell];
      const before = at.map((tasks) => (scores.lost[cell] === 1 && tasks[cell] < onset ? tasks[cell] : Infinity));
      const earliest = Math.min(...before);
      const several = before.filter((task) => task === earliest).length > 1;
      if (Number.isFinite(earliest)) lead[cell] = onset - earliest;
      let name = names[before.indexOf(earliest)];
      if (Number.isNaN(scores.lost[cell])) name = 'undefined';
      else if (scores.lost[cell] !== 1) name = 'no loss';
      else if (Number.isNaN(onset)) name = 'no onset seen';
      else if (!Number.isFinite(earliest)) name = 'none before the loss';
      else if (several) name = 'several at once';
      first[cell] = number[name];
    }
    return { first, lead, at: Object.fromEntries(names.map((name, index) => [name, at[index]])) };
  }

  /**
   * The scores of all cells under a rule.
   *
   * `column(name)` gives those that `analysis.scoring.table` calls so, computed when first asked for; onsets that were not
   * reached are infinite in it. `phase` and `lost` are as there, `onset` is NaN where nothing can be judged.
   */
  function score(sweep, rule) {
    const { about, arrays, n } = sweep;
    const lateCe = lateValues(sweep, 'final_ce', rule);
    const events = onsets(sweep, rule);
    const phase = phasesOf(sweep, rule, lateCe, events);
    const [plastic, lostPhase] = [about.phases.indexOf('plastic'), about.phases.indexOf('lost')];
    const lost = Float64Array.from(phase, (p) => (p === lostPhase ? 1 : p === plastic ? 0 : NaN));
    const judgedOnly = (tasks) => tasks.map((task, cell) => (Number.isNaN(lost[cell]) ? NaN : task));
    const scores = { rule, phase, lost, onset: judgedOnly(events.onset), recovery: judgedOnly(events.recovery) };
    const late = (measure) => scores.column(`late_${measure}`);
    const map = (of) => Float64Array.from({ length: n }, (_, cell) => of(cell));
    const early = (symptom) => arrays[`early_${about.measure_of[symptom]}`];
    const growth = (symptom) => map((cell) => late(about.measure_of[symptom])[cell] - early(symptom)[cell]);
    const makers = {
      lost: () => lost,
      excess: () => map((cell) => lateCe[cell] - arrays.fresh_ce[cell]),
      ratio: () => map((cell) => lateCe[cell] / arrays.fresh_ce[cell]),
      log_ratio: () => map((cell) => Math.log10(lateCe[cell] / arrays.fresh_ce[cell])),
      onset: () => map((c) => (lost[c] >= 0 && Number.isNaN(scores.onset[c]) ? Infinity : scores.onset[c])),
      recovery: () => scores.recovery,
      rank_collapse: () => {
        const before = early('rank');
        return map((cell) => (before[cell] === 0 ? NaN : 1 - late('effective_rank')[cell] / before[cell]));
      },
      duplicates_growth: () => growth('duplicates'),
      saturation_growth: () => growth('saturation'),
      late_final_ce: () => lateCe,
      lead: () => scores.symptoms().lead,
    };
    for (const measure of about.measures) makers[`late_${measure}`] ??= () => lateValues(sweep, measure, rule);
    const columns = new Map();
    scores.column = (name) => {
      if (!columns.has(name)) columns.set(name, makers[name] ? makers[name]() : arrays[name]);
      return columns.get(name);
    };
    let symptoms = null;
    scores.symptoms = () => (symptoms ??= firstSymptoms(sweep, rule, scores));
    scores.category = (name) => (name === 'phase' ? phase : scores.symptoms().first);
    return scores;
  }

  /** Whether a late mean of a measure is not that of single tasks, but of blocks that reach over its beginning. */
  function isRough(sweep, measure, rule) {
    if (rule.last === sweep.about.rule.last) return false;
    const blocks = sweep.about.resolution[measure === 'final_ce' ? 'final_ce' : 'curves'];
    return sweep.arrays.tasks.some((tasks) => lop.stride(tasks, blocks) > 1);
  }

  Object.assign(lop, { score, lateTasks, isRough });
})();
