/** For how long, in ms, a node is left out after a connection to it was lost. */
const penaltyMs = 200

/** Nodes in turn, as a load balancer would have it. */
export class RoundRobin {
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

  /** Index of the node whose turn it is; undefined when all are left out. */
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

  /** @param lost whether its connection broke */
  giveBack(node: number, lost: boolean): void {
    this.#outstanding[node] = (this.#outstanding[node] as number) - 1
    if (lost) this.#leftOutUntil[node] = performance.now() + penaltyMs
  }
}
