/**
 * The identity of this installation, which the first migration wrote to Postgres. It is known only once the schema exists, so
 * the parts that need it keep this object and read it at each use.
 */
export class Installation {
  #known: { readonly namespace: string; readonly secret: Buffer } | undefined

  learn(known: { readonly namespace: string; readonly secret: Buffer }): void {
    this.#known = known
  }

  /** The prefix of every Redis key and channel, so that services, stages and test runs can share one Redis. */
  get namespace(): string {
    return this.#get().namespace
  }

  /** Signs what goes through Redis. It never leaves Postgres and the nodes. */
  get secret(): Buffer {
    return this.#get().secret
  }

  #get(): { readonly namespace: string; readonly secret: Buffer } {
    if (!this.#known) throw new Error('The installation was read before the migrations had run')
    return this.#known
  }
}
