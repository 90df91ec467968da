import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * The context of the running code and of everything that it calls: a transaction, a load. Each file that has such a context
 * adds a property with `declare module`.
 */
// biome-ignore lint/suspicious/noEmptyInterface: other files add properties with `declare module`
export interface Ambient {}

/** One storage for all contexts: up to Node 22, each storage in use costs every `await` in the process 50 to 100 ns. */
const storage = new AsyncLocalStorage<Ambient>()

/** The present context; undefined outside of any. */
export function ambient(): Ambient | undefined {
  return storage.getStore()
}

/** Runs `work` in the present context with the properties of `inner` added. */
export function runAsPartOf<Result>(inner: Ambient, work: () => Promise<Result>): Promise<Result> {
  return storage.run({ ...storage.getStore(), ...inner }, work)
}
