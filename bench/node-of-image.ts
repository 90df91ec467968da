export interface HostNode {
  readonly path: string
  /** As `process.version`. */
  readonly version: string
}

export interface ChosenNode {
  /** The Node that runs the suites. */
  readonly path: string
  /** The host's Node if it is another one: one row is measured on it. */
  readonly host: HostNode | undefined
  /** One line about it. */
  readonly note: string
}

/**
 * Chooses the Node on which the suites run: the host's, if it is as new as that of the service's image, or otherwise one that
 * `install` brings. Before Node 24, a process that uses AsyncLocalStorage pays at each `await`, so figures of an older Node
 * say little about the image.
 *
 * @param wanted the major version of the image's Node
 * @param install returns the path of a Node of that version
 */
export function chooseNode(wanted: number, host: HostNode, install: () => HostNode): ChosenNode {
  if (Number(/^v(\d+)/.exec(host.version)?.[1]) >= wanted)
    return { path: host.path, host: undefined, note: `Node ${host.version}` }
  try {
    const installed = install()
    const note = `Node ${installed.version}, as in the image; the host's ${host.version} has one row`
    return { path: installed.path, host, note }
  } catch (error) {
    const [reason] = (error as Error).message.split('\n')
    const note = `Node ${host.version}, and not the image's: Node ${wanted} cannot be installed (${reason})`
    return { path: host.path, host: undefined, note }
  }
}
