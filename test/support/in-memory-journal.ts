import { randomUUID } from 'node:crypto'
import type {
  Journal,
  JournalMessage,
  JournalPage,
  NumberingResult,
  Place,
} from '../../src/kernel/journal/journal.js'
import { type OutboxRow, pageOf } from './journal-page.js'

/** Postgres as the protocol sees it, without Postgres. Tests change its history freely. */
export class InMemoryJournal implements Journal {
  epoch = '00000000000000e1'
  head = 0
  headId: string | null = null
  rows: OutboxRow[] = []
  /** The clock of this database, in ms. */
  now: () => number = () => 0
  readonly calls: string[] = []
  /** Awaited before a read takes its snapshot. */
  beforeRead: () => Promise<void> | undefined = () => undefined
  /** Awaited after a read has taken its snapshot, before it answers. */
  afterRead: () => Promise<void> | undefined = () => undefined

  /** A transaction commits with one event, which has no position yet. */
  commit(type: string, payload: unknown): void {
    this.rows.push({ type, payload, position: null, numberingId: '' })
  }

  /** Retention, or an operator, deletes what was numbered up to a position. */
  deleteUpTo(position: number): void {
    this.rows = this.rows.filter((row) => row.position === null || row.position > position)
  }

  number(atMost: number): Promise<NumberingResult> {
    this.calls.push('number')
    const unnumbered = this.rows.filter((row) => row.position === null).slice(0, atMost)
    const id = randomUUID()
    for (const row of unnumbered) {
      row.position = ++this.head
      row.numberingId = id
      this.headId = id
    }
    return Promise.resolve({
      epoch: this.epoch,
      head: this.head,
      headId: this.headId,
      numbered: unnumbered.length,
      ...(unnumbered.length > 0 && {
        messages: unnumbered.map(
          ({ position, numberingId, type, payload }): JournalMessage => ({
            position: position ?? 0,
            numberingId,
            type,
            payload,
          }),
        ),
      }),
    })
  }

  async read(after: number, atMost: number, places: readonly Place[] = []): Promise<JournalPage> {
    this.calls.push(`read ${after}`)
    await this.beforeRead()
    const { epoch, head, headId } = this
    const page = pageOf(this.rows, { epoch, head, headId, clockMs: this.now() }, after, atMost, places)
    await this.afterRead()
    return page
  }

  beginEpoch(seen: string): Promise<string> {
    this.calls.push('beginEpoch')
    if (this.epoch === seen) this.epoch = (BigInt(`0x${seen}`) + 1n).toString(16).padStart(16, '0')
    return Promise.resolve(this.epoch)
  }
}
