import type { Curve, Series } from './curves/curve.js'
import type { Row, RowEntry } from './row.js'

/** One row as text: what was done, then everybody's figures, best first, ours marked. */
export function formatRow(row: Row): string {
  const sorted = [...row.entries].sort((a, b) =>
    row.better === 'higher' ? b.median - a.median : a.median - b.median,
  )
  const width = Math.max(...sorted.map(({ name }) => name.length))
  const lines = sorted.map((entry) => `  ${formatEntry(entry, row, width)}`)
  return [
    `${row.met ? '✓' : '✗'} ${row.work}  [${verdictOf(row)}; cores ${percent(row.busy)} busy]`,
    ...lines,
  ].join('\n')
}

function formatEntry(entry: RowEntry, { unit }: Row, width: number): string {
  const { name, role, median, min, max, oursTo } = entry
  const mark = role === 'ours' ? '▶' : role === 'limit' ? '—' : ' '
  const ratio = oursTo ? `   ours is ${ratioText(oursTo.median)} of it` : ''
  return `${mark} ${name.padEnd(width)}  ${numberText(median).padStart(9)} ${unit}  (${numberText(min)} – ${numberText(max)})${ratio}`
}

/** What was wanted, and what was reached. */
export function verdictOf({
  goal,
  bound,
  better,
  reached,
  bestPeer,
  aheadOfPeers,
  unit,
  entries,
}: Row): string {
  const parts: string[] = []
  if (goal && reached !== undefined) {
    parts.push(
      `${ratioText(reached)} of ${goal.against === 'limit' ? 'the limit' : goal.against}, wanted ${better === 'higher' ? '≥' : '≤'} ${goal.ratio}`,
    )
  }
  if (bound) {
    const own = entries.find(({ role }) => role === 'ours')?.median ?? Number.NaN
    const wanted =
      bound.atMost === undefined ? `≥ ${numberText(bound.atLeast ?? 0)}` : `≤ ${numberText(bound.atMost)}`
    parts.push(`${numberText(own)} ${unit}, wanted ${wanted}`)
  }
  if (bestPeer) {
    parts.push(
      `${ratioText(bestPeer.ratio)} of the best peer, ${bestPeer.name}${aheadOfPeers ? '' : ' (no goal)'}`,
    )
  }
  return parts.join('; ') || 'no goal'
}

/** The summary: a line a row, as Markdown. */
export function formatSummary(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const ours = row.entries.find(({ role }) => role === 'ours')
    const limit = row.entries.find(({ role }) => role === 'limit')
    const figure = (entry: RowEntry | undefined) => (entry ? `${numberText(entry.median)} ${row.unit}` : '')
    return `| ${row.work} | ${figure(ours)} | ${figure(limit)} | ${verdictOf(row)} | ${row.met ? 'met' : '**not met**'} |`
  })
  return ['| work | ours | limit | reached, wanted | |', '| --- | --- | --- | --- | --- |', ...lines].join(
    '\n',
  )
}

/** One curve as text: a column for each line of the plot. */
export function formatCurve({ title, x, y }: Curve, series: readonly Series[]): string {
  const xs = series[0]?.points.map((point) => point.x) ?? []
  const rows = [
    [x, ...series.map(({ name }) => name)],
    ...xs.map((value, index) => [
      numberText(value),
      ...series.map(({ points }) => numberText(points[index]?.y.median ?? Number.NaN)),
    ]),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = rows.map((row) => row.map((text, column) => text.padStart(widths[column] ?? 0)).join('  '))
  return [`${title}: ${y}`, ...lines].join('\n')
}

export function numberText(value: number): string {
  const size = Math.abs(value)
  if (!Number.isFinite(value)) return '–'
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)} M`
  if (size >= 1e4) return `${(value / 1e3).toFixed(1)} k`
  if (size >= 100) return value.toFixed(0)
  if (size >= 10 || Number.isInteger(value)) return value.toFixed(Number.isInteger(value) ? 0 : 1)
  return value.toFixed(size >= 1 ? 2 : 3)
}

function ratioText(value: number): string {
  return value >= 10 ? value.toFixed(0) : value.toFixed(2)
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
