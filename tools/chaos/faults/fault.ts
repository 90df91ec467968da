import type { Cluster, ClusterNode } from '../cluster.js'
import type { Random } from '../random.js'

/** Only one redis fault and one postgres fault happen at a time, and up to two node faults, which concern different nodes. */
export const lanes = ['node', 'redis', 'postgres'] as const
export type LaneName = (typeof lanes)[number]

export interface FaultContext {
  readonly cluster: Cluster
  /** The random numbers of this fault alone. */
  readonly random: Random
  /** The bound that the nodes run with. */
  readonly boundMs: number
  /**
   * Must be called when the fault starts. It ends when `strike` resolves.
   *
   * @param node the number of the node, if the fault concerns one
   */
  begins(detail?: string, node?: number): void
  /** Sends a node reads of hot keys, past the load balancer. Their answers are judged like any others. */
  ask(node: ClusterNode): void
  /** Waits for `ms`, or until the run is interrupted. */
  hold(ms: number): Promise<void>
}

export interface Fault {
  readonly kind: string
  readonly lane: LaneName
  /** Whether runs of the naive nodes use it, too. These do not survive the loss of Postgres. */
  readonly forNaive: boolean
  /** Why this machine cannot cause it; undefined if it can. */
  missing?(): string | undefined
  /** Causes the fault and ends it. Afterwards all nodes and servers run and are connected. */
  strike(context: FaultContext): Promise<void>
}
