/** A tier was asked for alone, and has no fresh value. */
export class NotInTierError extends Error {
  override readonly name = 'NotInTierError'
  constructor(readonly tier: string) {
    super(`There is no fresh value in ${tier}`)
  }
}

/** A load took longer than its caller would wait, and nothing stale may be answered instead. */
export class LoadTimeoutError extends Error {
  override readonly name = 'LoadTimeoutError'
  constructor(
    readonly cache: string,
    readonly key: string,
    readonly timeoutMs: number,
  ) {
    super(`${cache}: loading ${JSON.stringify(key)} took longer than ${timeoutMs} ms`)
  }
}

/** A load needs its own result: a cached read inside it, or inside one of those, asks for the same value. */
export class CyclicLoadError extends Error {
  override readonly name = 'CyclicLoadError'
  /** @param chain the loads, each made inside the one before it; the first and the last load the same value */
  constructor(readonly chain: readonly string[]) {
    super(
      `A load waits for itself: ${chain.join(' → ')}. Load that part without the cache, or under another key.`,
    )
  }
}
