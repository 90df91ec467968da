import { setTimeout as sleep } from 'node:timers/promises'
import type { EntrantSettings } from '../entrant.js'
import { type Member, sharedClock } from '../members.js'

/** When each was sent, or arrived, by the clock that processes share. */
export type Sending = readonly (readonly [id: string, at: number])[]

/** Begins the names of what is sent before any round, and does not count. */
const early = 'early:'

/** Writes under way, at most; more would queue for a connection, and be given up there if the machine is slow. */
const atOnce = 50

/**
 * Sends at a fixed rate, as long as the machine keeps up with it: what is beyond `atOnce` waits before it is sent.
 *
 * @param sendOne is to call `sent` once, at the moment from which the way to the receiver counts
 */
export function pacing(
  { perSecond }: EntrantSettings,
  sendOne: (id: string, sent: (id: string, at?: number) => void) => Promise<unknown>,
): Member {
  let series = 0
  // A pool opens its connections with the first writes; at full rate those would queue until they are given up.
  const connect = async () => {
    for (let index = 0; index < 3; index++)
      await Promise.allSettled(
        Array.from({ length: 10 }, (_, at) => sendOne(`${early}${index}:${at}`, () => {})),
      )
  }
  return {
    async send(count) {
      if (series++ === 0) await connect()
      const sending: [string, number][] = []
      const sent = (id: string, at = sharedClock()) => void sending.push([id, at])
      const underWay = new Set<Promise<unknown>>()
      const from = sharedClock()
      for (let index = 0; index < count; index++) {
        const ahead = from + (index * 1_000) / Number(perSecond) - sharedClock()
        if (ahead > 0) await sleep(ahead)
        while (underWay.size >= atOnce) await Promise.race(underWay)
        const one: Promise<unknown> = sendOne(`${series}:${index}`, sent).finally(() => underWay.delete(one))
        underWay.add(one)
      }
      await Promise.all(underWay)
      return sending
    },
  }
}

/** What a receiver has seen since it was last asked. */
export class Arrivals {
  readonly #seen = new Map<string, number>()
  #wake: () => void = () => {}
  readonly member: Member = {
    collect: async (count) => {
      while (this.#seen.size < count) await new Promise<void>((resolve) => (this.#wake = resolve))
      const seen = [...this.#seen]
      this.#seen.clear()
      return seen
    },
  }

  add(id: string): void {
    if (id.startsWith(early)) return
    if (!this.#seen.has(id)) this.#seen.set(id, sharedClock())
    this.#wake()
  }
}
