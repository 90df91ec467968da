import type { Cluster, ClusterNode } from '../cluster.js'
import type { Random } from '../random.js'

/** Faults of one lane never overlap; those of different lanes do. */
export const lanes = ['node', 'redis', 'postgres'] as const
export type LaneName = (typeof lanes)[number]

export interface Surroundings {
  readonly cluster: Cluster
  /** What this fault draws from, and nobody else. */
  readonly random: Random
  /** The bound that the nodes run with. */
  readonly boundMs: number
  /**
   * The fault is there from now on; it ends when `strike` resolves.
   *
   * @param node its number, if it concerns one
   */
  begins(detail?: string, node?: number): void
  /** Sends a node reads of hot keys, past the round-robin; their answers are judged like any others. */
  ask(node: ClusterNode): void
  /** Lets it last; shorter when the run is interrupted. */
  hold(ms: number): Promise<void>
}

export interface Fault {
  readonly kind: string
  readonly lane: LaneName
  /** Whether it says anything of the naive nodes, which do not survive the loss of Postgres. */
  readonly forNaive: boolean
  /** Why it cannot be caused on this machine. */
  missing?(): string | undefined
  /** Causes it, and puts everything right again: afterwards all nodes and servers run and are connected. */
  strike(around: Surroundings): Promise<void>
}
