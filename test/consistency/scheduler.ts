/** What a step looks at and changes: two steps commute if neither changes what the other touches. */
export interface Touches {
  readonly reads?: readonly string[]
  readonly writes?: readonly string[]
}

/** One thing that can happen next. Between two steps no code of the service runs. */
export interface Step extends Touches {
  /** Unique in a run, and the same in every run that is equal up to the order of steps that commute. */
  readonly id: string
  /** Whose code goes on with it; undefined for what a server does. */
  readonly node?: string | undefined
  /** Whose request it is; gone with that node, unless it survives. */
  readonly owner?: string | undefined
  /** A statement that a server carries out although its sender has died. */
  readonly survives?: boolean
  /** A hint under way, a timer: nobody waits for these, so a run may end before them. */
  readonly optional?: boolean
  ready?(): boolean
  /** Whether it would change nothing, now or later, as long as the epoch stays. */
  isIdle?(): boolean
  /** @returns what came of it, for the trace */
  perform(): string | undefined
}

export type ParkedStep = Omit<Step, 'perform'>

/**
 * Lets one thing happen at a time. Whatever a model is asked for is parked as a step; once all code has run as far
 * as it can, one parked step is chosen and performed. Given the same choices, a run is the same to the last answer.
 */
export class Scheduler {
  #parked: Step[] = []
  readonly #paused = new Set<string>()
  readonly #killed = new Set<string>()
  #performedAtOnce = 0
  /** Whether steps are performed as they are asked for: for what does not need every order. */
  atOnce = false
  /** Steps so far. Each is a turn of the event loop to the code that it lets run. */
  performed = 0

  /** Resolves with what `execute` returns, when the step is chosen. */
  park<Result>(step: ParkedStep, execute: () => Result, tell?: (result: Result) => string): Promise<Result> {
    if (this.atOnce && (!step.ready || step.ready())) {
      this.performed++
      // Code that asks for ever would never let go: taken for something that does not end, the run fails by it.
      if (++this.#performedAtOnce > manyAtOnce) return new Promise(() => {})
      try {
        return Promise.resolve(execute())
      } catch (error) {
        return Promise.reject(error)
      }
    }
    return new Promise((resolve, reject) => {
      const perform = (): string | undefined => {
        try {
          const result = execute()
          resolve(result)
          return tell?.(result)
        } catch (error) {
          reject(error)
          return String((error as Error).message)
        }
      }
      this.add({ ...step, perform })
    })
  }

  add(step: Step): void {
    if (step.owner === undefined || step.survives || !this.#killed.has(step.owner)) this.#parked.push(step)
  }

  /** A process is gone: whatever it waited for never comes, and nothing it would have asked for is asked. */
  kill(owner: string): void {
    this.#killed.add(owner)
    this.#parked = this.#parked.filter((step) => step.owner !== owner || step.survives === true)
  }

  /** In the order in which they were asked for. */
  enabled(): Step[] {
    return this.#parked.filter((step) => this.#isEnabled(step))
  }

  /** By its name, or else by what it does: of a run that leaves something out, the requests are counted otherwise. */
  find(id: string): Step | undefined {
    const exact = this.#parked.find((step) => step.id === id && this.#isEnabled(step))
    if (exact) return exact
    const uncounted = withoutCount(id)
    return this.#parked.find((step) => withoutCount(step.id) === uncounted && this.#isEnabled(step))
  }

  get parked(): readonly Step[] {
    return this.#parked
  }

  /** Takes away steps that will never happen. */
  drop(which: (step: Step) => boolean): void {
    this.#parked = this.#parked.filter((step) => !which(step))
  }

  pause(node: string): void {
    this.#paused.add(node)
  }

  resume(node?: string): void {
    if (node === undefined) this.#paused.clear()
    else this.#paused.delete(node)
  }

  isPaused(node: string): boolean {
    return this.#paused.has(node)
  }

  /** Performs a step, and lets all code run until it waits for the next one. */
  async perform(step: Step): Promise<string | undefined> {
    const index = this.#parked.indexOf(step)
    if (index >= 0) this.#parked.splice(index, 1)
    this.performed++
    const outcome = step.perform()
    await settled()
    return outcome
  }

  #isEnabled({ node, ready }: Step): boolean {
    return (node === undefined || !this.#paused.has(node)) && (ready === undefined || ready())
  }
}

/** A request without its number. */
function withoutCount(id: string): string {
  return id.replace(/\.\d+/, '')
}

/** More than any run performs at its begin and end. */
const manyAtOnce = 10_000

/** Turns of the event loop are slow, but whoever watches this process must get one now and then. */
const stepsATurn = 1_000
let sinceTurn = 0

/**
 * All microtasks have run. Nothing of the protocol waits for anything else: time and servers are models here. What
 * `nextTick` is given runs when no microtask is left, and sooner than after a turn of the event loop.
 */
export function settled(): Promise<void> {
  sinceTurn = (sinceTurn + 1) % stepsATurn
  return new Promise((resolve) => (sinceTurn === 0 ? setImmediate(resolve) : process.nextTick(resolve)))
}
