import type { Hint } from './hint.js'

/** Receives what arrives on the channel. */
export interface HintListener {
  hint(hint: Hint): void
  /** Something arrived that cannot be used: it has no valid signature, or an unknown format. */
  rejected(reason: string): void
  /** Hints that had arrived were dropped, because too many were waiting. */
  lost(): void
  /** The channel has been opened. Hints that were sent while it was closed are lost. */
  reconnected(): void
}

/** Tells the other nodes at once what their next check would tell them anyway. */
export interface HintChannel {
  /** Never waits and never throws: a hint that cannot be sent is lost. */
  publish(hint: Hint): void
  /** Starts listening. It resolves even if the channel cannot be reached. */
  start(listener: HintListener): Promise<void>
  /** Waits until published hints are sent or have failed, and closes. */
  stop(): Promise<void>
}
