import type { Hint } from './hint.js'

/** What a node hears on the channel. */
export interface HintListener {
  hint(hint: Hint): void
  /** Something arrived that nobody with the secret has sent. */
  rejected(reason: string): void
  /** Hints that had arrived were dropped: too many of them were waiting. */
  lost(): void
  /** The channel is open again after it was not; whatever was sent meanwhile is lost. */
  reconnected(): void
}

/** A way to tell the other nodes at once what they would otherwise find out at their next check. */
export interface HintChannel {
  /** Never waits and never throws: a hint that cannot be sent is a lost hint. */
  publish(hint: Hint): void
  /** Starts listening; resolves whether or not the channel can be reached. */
  start(listener: HintListener): Promise<void>
  /** Waits for what was published, as long as that can still succeed, and closes. */
  stop(): Promise<void>
}
