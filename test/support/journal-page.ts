import type { JournalMessage, JournalPage, Place } from '../../src/kernel/journal/journal.js'

/** A row of an outbox in memory. */
export interface OutboxRow {
  readonly type: string
  readonly payload: unknown
  position: number | null
  numberingId: string
}

/** What Postgres answers a read of the journal, from rows in memory, whatever their order. */
export function pageOf(
  rows: readonly OutboxRow[],
  state: Pick<JournalPage, 'epoch' | 'head' | 'headId' | 'clockMs'>,
  after: number,
  atMost: number,
  places: readonly Place[],
): JournalPage {
  const numbered = rows
    .filter((row): row is OutboxRow & { position: number } => row.position !== null)
    .sort((a, b) => a.position - b.position)
  return {
    ...state,
    unnumbered: numbered.length < rows.length,
    contradicted: places.some((place) =>
      numbered.some((row) => row.position === place.position && row.numberingId !== place.numberingId),
    ),
    afterId: numbered.find((row) => row.position === after)?.numberingId ?? null,
    messages: numbered
      .filter((row) => row.position > after)
      .slice(0, atMost)
      .map(
        ({ position, numberingId, type, payload }): JournalMessage => ({
          position,
          numberingId,
          type,
          payload,
        }),
      ),
  }
}
