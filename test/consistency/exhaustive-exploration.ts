import type { Violation } from './judge.js'
import { run } from './run.js'
import type { Scenario } from './scenario.js'
import type { Step } from './scheduler.js'
import type { World } from './world.js'

export interface ExhaustiveExploration {
  readonly runs: number
  readonly steps: number
  /** Distinct histories, up to the order of steps that commute. */
  readonly states: number
  /** Whether everything was seen. */
  readonly complete: boolean
  readonly failure: { readonly violation: Violation; readonly chosen: readonly string[] } | undefined
}

/** In place of a step: the run ends here, and what is still under way never arrives. */
const end = 'end'

/** One place at which there was more than one way to go on, or was not yet. */
interface Fork {
  readonly taken: string
  readonly others: string[]
}

/**
 * Runs a scenario in every order of its steps, and with every end.
 *
 * The reduction: two steps that touch nothing in common, or only read it, commute, so that orders which differ in such
 * pairs alone lead to the same state, of the nodes, of the models and of the judge. What is the same for all of them is
 * their happens-before relation, and this remembers its hash for every prefix of a run (as "happens-before caching" of
 * the CHESS model checker does): a step that would lead to a relation known already is not taken. This is sound because
 * a state decides all that can follow, because every step declares all that it touches, and because the judge measures
 * an answer only by what had happened when its request arrived, which no later, independent step can change.
 *
 * Besides, a hint that tells its receiver nothing new, and within one epoch never will, is not delivered.
 *
 * There are no snapshots of running code: each run begins anew and repeats its prefix.
 */
export async function exploreAll(
  scenario: Scenario,
  endsAt = Number.POSITIVE_INFINITY,
): Promise<ExhaustiveExploration> {
  const known = new Set<number>()
  const oneEpoch = !scenario.troubles.flat().some(({ kind }) => kind === 'fail over')
  const path: Fork[] = []
  let runs = 0
  let steps = 0
  for (;;) {
    const relation = new HappensBefore()
    let depth = 0
    const outcome = await run(
      scenario,
      (enabled, world) => {
        if (oneEpoch) world.scheduler.drop((step) => step.isIdle?.() === true)
        relation.created(world)
        const fork = path[depth] ?? forkOf(enabled, relation, known)
        if (!fork) return undefined
        path[depth++] = fork
        if (fork.taken === end) return undefined
        const step = enabled.find(({ id }) => id === fork.taken)
        if (!step) throw new Error(`A run was not repeated as it was: ${fork.taken} is not there`)
        relation.add(step)
        return step
      },
      () => 0.5,
    )
    runs++
    steps += outcome.chosen.length
    const result = { runs, steps, states: known.size }
    if (outcome.violation) {
      return {
        ...result,
        complete: false,
        failure: { violation: outcome.violation, chosen: outcome.chosen },
      }
    }
    if (!nextPath(path)) return { ...result, complete: true, failure: undefined }
    if (performance.now() > endsAt) return { ...result, complete: false, failure: undefined }
  }
}

/** All ways to go on from here that lead to something new; undefined if there is none. */
function forkOf(enabled: readonly Step[], relation: HappensBefore, known: Set<number>): Fork | undefined {
  const ways: string[] = enabled.every(({ optional }) => optional) ? [end] : []
  for (const step of enabled) {
    const after = relation.hashAfter(step)
    if (known.has(after)) continue
    known.add(after)
    ways.push(step.id)
  }
  const taken = ways.pop()
  return taken === undefined ? undefined : { taken, others: ways }
}

/** @returns false if every fork has been taken every way */
function nextPath(path: Fork[]): boolean {
  for (let last = path.pop(); last; last = path.pop()) {
    const { others } = last
    const taken = others.pop()
    if (taken === undefined) continue
    path.push({ taken, others })
    return true
  }
  return false
}

/**
 * The happens-before relation of a run, as a hash of 53 bits: the sum, in any order, of the hashes of its steps, each of
 * which covers the step's name and the hashes of those that it depends on.
 */
class HappensBefore {
  #sum = new Hash(0, 0)
  #newest = new Hash(0, 0)
  readonly #written = new Map<string, Hash>()
  readonly #readSince = new Map<string, Hash>()
  readonly #creators = new Map<string, Hash>()

  /** What is there now and was not before was asked for by the newest step. */
  created(world: World): void {
    for (const { id } of world.scheduler.parked) {
      if (!this.#creators.has(id)) this.#creators.set(id, this.#newest)
    }
  }

  hashAfter(step: Step): number {
    return this.#sum.plus(this.#hashOf(step)).number
  }

  add(step: Step): void {
    const hash = this.#hashOf(step)
    const { reads, writes } = touchedBy(step)
    this.#sum = this.#sum.plus(hash)
    this.#newest = hash
    for (const object of reads) {
      this.#readSince.set(object, (this.#readSince.get(object) ?? new Hash(0, 0)).plus(hash))
    }
    for (const object of writes) {
      this.#written.set(object, hash)
      this.#readSince.delete(object)
    }
  }

  #hashOf(step: Step): Hash {
    const { reads, writes } = touchedBy(step)
    let hash = Hash.of(step.id).with(this.#creators.get(step.id))
    for (const object of reads) hash = hash.with(this.#written.get(object))
    for (const object of writes) hash = hash.with(this.#written.get(object)).with(this.#readSince.get(object))
    return hash
  }
}

function touchedBy({ node, reads = [], writes = [] }: Step) {
  // A node's code reads its clock, and may send a hint, which reaches the processes that there are by then.
  return { reads: node === undefined ? reads : [...reads, 'time', 'subscriptions'], writes }
}

class Hash {
  constructor(
    private readonly high: number,
    private readonly low: number,
  ) {}

  static of(text: string): Hash {
    let high = 0x9e3779b9
    let low = 0x85ebca6b
    for (let index = 0; index < text.length; index++) {
      high = mixed(high ^ text.charCodeAt(index), 0xcc9e2d51)
      low = mixed(low ^ text.charCodeAt(index), 0x1b873593)
    }
    return new Hash(high, low)
  }

  get number(): number {
    return (this.high >>> 11) * 0x1_0000_0000 + (this.low >>> 0)
  }

  plus({ high, low }: Hash): Hash {
    return new Hash((this.high + high) | 0, (this.low + low) | 0)
  }

  /** Not the same as the other way round. */
  with(other: Hash = nothing): Hash {
    return new Hash(
      mixed(this.high ^ mixed(other.high, 0x38b34ae5), 0xe6546b64),
      mixed(this.low ^ mixed(other.low, 0xa1e38b93), 0x2545f491),
    )
  }
}

const nothing = new Hash(0, 0)

function mixed(hash: number, factor: number): number {
  const product = Math.imul(hash ^ (hash >>> 16), factor)
  return product ^ (product >>> 13)
}
