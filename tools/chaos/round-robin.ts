/** How long a node gets no requests after it did not answer or answered 503, in ms. */
const penaltyMs = 200

/** Chooses the node for the next request. */
export interface Balancer {
  /** The index of a node; undefined if no node can take a request. */
  take(): number | undefined
  /** @param isWell whether it answered, and not with 503 */
  giveBack(node: number, isWell: boolean): void
}

/** Uses the nodes in turn, like a load balancer. */
export class RoundRobin implements Balancer {
  #next = 0
  readonly #outstanding: number[]
  readonly #leftOutUntil: number[]

  /** @param limit how many requests may wait for one node, so that not all clients end up waiting for a paused node */
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
