import type { ChaosOptions } from './options.js'
import type { Verdict, Violation, ViolationKind } from './verdict.js'

export interface Report {
  readonly mode: string
  readonly seed: number
  readonly nodes: number
  readonly minutes: number
  readonly boundMs: number
  readonly reads: number
  readonly readsPerSecond: number
  readonly withToken: number
  readonly markedStale: number
  /** The shares of reads answered from L1 and from L2. */
  readonly hitRate: { readonly l1: number; readonly l2: number }
  readonly failedReads: Readonly<Record<string, number>>
  readonly writes: Readonly<Record<string, number>>
  readonly committedVersions: number
  readonly faults: Readonly<Record<string, number>>
  readonly notShown: readonly string[]
  /** Unmarked reads that lacked a committed write, and how many ms it had been known. */
  readonly staleReads: {
    readonly count: number
    readonly beyondBound: number
    readonly p50: number
    readonly p99: number
    readonly max: number
  }
  readonly answeredAfterPause: number
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly violations: Readonly<Partial<Record<ViolationKind, number>>>
  readonly violationCount: number
  readonly examples: readonly Violation[]
}

export function reportOf(
  verdict: Verdict,
  options: ChaosOptions,
  boundMs: number,
  seconds: number,
  notShown: readonly string[],
): Report {
  const { reads, staleness, latency, tiers } = verdict
  const share = (count: number) => (reads === 0 ? 0 : Number((count / reads).toFixed(4)))
  return {
    mode: options.mode,
    seed: options.seed,
    nodes: options.nodes,
    minutes: options.minutes,
    boundMs,
    reads,
    readsPerSecond: Math.round(reads / seconds),
    withToken: verdict.withToken,
    markedStale: verdict.marked,
    hitRate: { l1: share(tiers.l1), l2: share(tiers.l2) },
    failedReads: Object.fromEntries(
      [...verdict.failedReads].map(([status, count]) => [status === 0 ? 'no answer' : String(status), count]),
    ),
    writes: verdict.writes,
    committedVersions: verdict.committedVersions,
    faults: Object.fromEntries(verdict.faults),
    notShown,
    staleReads: {
      count: staleness.size,
      beyondBound: verdict.violations.get('older than the bound') ?? 0,
      p50: staleness.percentile(0.5),
      p99: staleness.percentile(0.99),
      max: Math.round(staleness.largest),
    },
    answeredAfterPause: verdict.answeredAfterPause,
    latencyMs: {
      p50: latency.percentile(0.5),
      p99: latency.percentile(0.99),
      max: Math.round(latency.largest),
    },
    violations: Object.fromEntries(verdict.violations),
    violationCount: [...verdict.violations.values()].reduce((sum, count) => sum + count, 0),
    examples: verdict.examples,
  }
}

const thousands = (count: number) => count.toLocaleString('en-US')

/** The report as text. Scripts can read its last line. */
export function textOf(report: Report): string {
  const { staleReads, latencyMs, writes, hitRate } = report
  const failed = Object.entries(report.failedReads)
  const lines = [
    '',
    `${report.mode}, ${report.nodes} nodes, ${report.minutes} min, seed ${report.seed}`,
    '',
    `reads       ${thousands(report.reads)} checked (${thousands(report.readsPerSecond)}/s), ` +
      `${thousands(report.withToken)} with a token, ${thousands(report.markedStale)} marked as stale`,
    `            hit rate ${percent(hitRate.l1)} L1 and ${percent(hitRate.l2)} L2; ` +
      `p50 ${latencyMs.p50} ms, p99 ${latencyMs.p99} ms, longest ${thousands(latencyMs.max)} ms`,
    `no answer   ${failed.length === 0 ? '0' : failed.map(([status, count]) => `${thousands(count)} × ${status}`).join(', ')}`,
    `writes      ${thousands(writes.committed ?? 0)} acknowledged, ${thousands(writes.refused ?? 0)} refused, ` +
      `${thousands(writes.unknown ?? 0)} of unknown outcome; ${thousands(report.committedVersions)} committed versions`,
    `staleness   ${thousands(staleReads.count)} reads lacked a committed write, by p50 ${thousands(staleReads.p50)} ms, ` +
      `p99 ${thousands(staleReads.p99)} ms, at most ${thousands(staleReads.max)} ms; the bound is ` +
      `${thousands(report.boundMs)} ms`,
    `paused      ${thousands(report.answeredAfterPause)} reads waited for a paused node, and were its first answers`,
    '',
    'faults',
    ...Object.entries(report.faults).map(([kind, count]) => `  ${String(count).padStart(4)}  ${kind}`),
    ...report.notShown.map((kind) => `     0  ${kind}`),
  ]
  if (report.violationCount > 0) {
    lines.push('', 'violations')
    for (const [kind, count] of Object.entries(report.violations)) {
      lines.push(`  ${String(count).padStart(4)}  ${kind}`)
    }
    for (const example of report.examples) lines.push('', ...exampleLines(example))
  }
  lines.push('', `chaos: ${report.reads} reads checked, ${report.violationCount} violations`)
  return lines.join('\n')
}

function exampleLines({ kind, what, record, writes, faults }: Violation): string[] {
  const context = [
    ...(record ? [`    ${JSON.stringify(record)}`] : []),
    ...writes.map((write) => `    write before: ${JSON.stringify(write)}`),
    ...faults.map(({ fault, phase, at, node, detail }) =>
      `    fault ${phase} at ${at}: ${fault}${node === undefined ? '' : `, node ${node}`} ${detail}`.trimEnd(),
    ),
  ]
  return [`  ${kind}: ${what}`, ...context]
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
