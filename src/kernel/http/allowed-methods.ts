import type { FastifyInstance } from 'fastify'
import createRouter, { type HTTPMethod } from 'find-my-way'

/**
 * Collects the routes of a server, and tells which methods a path has. Fastify alone answers 404 for a path that it knows with
 * another method. Must be created before the first route, with the options of the server's own router.
 */
export class AllowedMethods {
  readonly #router
  readonly #methods = new Set<HTTPMethod>()

  constructor(app: FastifyInstance, routerOptions: { readonly maxParamLength: number }) {
    this.#router = createRouter(routerOptions)
    app.addHook('onRoute', ({ method, url }) => {
      for (const each of [method].flat() as HTTPMethod[]) {
        this.#methods.add(each)
        // Two routes may have the same path and method, for different versions say, and one is enough here.
        if (!this.#router.hasRoute(each, url)) this.#router.on(each, url, () => {})
      }
    })
  }

  /** The methods of a path, OPTIONS included. Empty if there is no such path. */
  of(path: string): readonly string[] {
    const methods = [...this.#methods].filter((method) => this.#router.find(method, path))
    return methods.length === 0 ? [] : [...new Set([...methods, 'OPTIONS'])].sort()
  }
}
