/** For how long, in ms, a node is left out that did not answer, or said that it cannot. */
const penaltyMs = 200

/** Says which node gets the next request. */
export interface Balancer {
  /** Index of a node; undefined when there is none to take it. */
  take(): number | undefined
  /** @param isWell whether it answered, and not that it cannot at the moment */
  giveBack(node: number, isWell: boolean): void
}

/** Nodes in turn, as a load balancer would have it. */
export class RoundRobin implements Balancer {
  #next = 0
  readonly #outstanding: number[]
  readonly #leftOutUntil: number[]

  /** @param limit how many requests may wait for one node: one that is paused must not collect all clients */
  constructor(
    private readonly nodes: number,
    private readonly limit: number,
  ) {
    this.#outstanding = new Array<number>(nodes).fill(0)
    this.#leftOutUntil = new Array<number>(nodes).fill(0)
  }

  take(): number | undefined {
    const now = performance.now()
    for (let tries = 0; tries < this.nodes; tries++) {
      const node = this.#next
      this.#next = (node + 1) % this.nodes
      const free = (this.#outstanding[node] as number) < this.limit
      if (free && now >= (this.#leftOutUntil[node] as number)) {
        this.#outstanding[node] = (this.#outstanding[node] as number) + 1
        return node
      }
    }
    return undefined
  }

  giveBack(node: number, isWell: boolean): void {
    this.#outstanding[node] = (this.#outstanding[node] as number) - 1
    if (!isWell) this.#leftOutUntil[node] = performance.now() + penaltyMs
  }
}
