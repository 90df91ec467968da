/**
 * Who this installation is, as the first migration wrote it to Postgres. Known once the schema exists; parts
 * that need it are given this object and ask when they are used.
 */
export class Installation {
  #known: { readonly namespace: string; readonly secret: Buffer } | undefined

  learn(known: { readonly namespace: string; readonly secret: Buffer }): void {
    this.#known = known
  }

  /** Begins every Redis key and channel, so that services, stages and test runs can share a Redis. */
  get namespace(): string {
    return this.#get().namespace
  }

  /** Signs what goes through Redis; never leaves Postgres and this process. */
  get secret(): Buffer {
    return this.#get().secret
  }

  #get(): { readonly namespace: string; readonly secret: Buffer } {
    if (!this.#known) throw new Error('The installation is not known before the migrations have run')
    return this.#known
  }
}
