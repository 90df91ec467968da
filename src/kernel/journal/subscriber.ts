import { isWorthALine } from '../observability/log-sampling.js'
import type { Logger } from '../observability/logger.js'
import type { AppliedJournal } from './applied-journal.js'
import type { Hint } from './hint.js'
import type { HintChannel, HintListener } from './hint-channel.js'
import type { StalenessCheck } from './staleness-check.js'

/**
 * Applies hints that continue at this node's position. For any other hint it asks for a check: an earlier hint may be lost,
 * the epoch may be new, or the messages may have been too large to send.
 */
export class Subscriber implements HintListener {
  readonly statistics = { received: 0, rejected: 0, reconnects: 0 }

  constructor(
    private readonly channel: HintChannel,
    private readonly applied: AppliedJournal,
    private readonly check: StalenessCheck,
    private readonly logger: Logger,
  ) {}

  start(): Promise<void> {
    return this.channel.start(this)
  }

  stop(): Promise<void> {
    return this.channel.stop()
  }

  hint(hint: Hint): void {
    this.statistics.received++
    const continues = hint.epoch === this.applied.epoch && this.applied.apply(hint.messages) === 'applied'
    if (!continues || this.applied.position < hint.head) this.check.request()
  }

  rejected(reason: string): void {
    this.statistics.rejected++
    const { rejected } = this.statistics
    if (isWorthALine(rejected)) this.logger.warn({ reason, rejected }, 'a hint was rejected')
  }

  lost(): void {
    this.check.request()
  }

  reconnected(): void {
    this.statistics.reconnects++
    this.check.request()
  }
}
