import { docker } from './command.js'

/** The environment variable that tells a test of which Compose project the containers are. */
export const TEST_PROJECT = 'AFTERCOMMIT_TEST_COMPOSE_PROJECT'

/** Arguments of `docker` that list a project's containers, also stopped ones, as lines `service container`. */
export const listOf = (project: string): readonly string[] => [
  'ps',
  '--all',
  '--filter',
  `label=com.docker.compose.project=${project}`,
  '--format',
  '{{.Label "com.docker.compose.service"}} {{.ID}}',
]

/** Reads such a list. @returns the containers' ids by service, in the order of the names */
export function readList(list: string): ReadonlyMap<string, string> {
  const lines = list.trim().split('\n').sort()
  return new Map(
    lines.flatMap((line) => {
      const [service, container] = line.split(' ')
      return service && container ? [[service, container] as const] : []
    }),
  )
}

export async function containersOf(project: string): Promise<ReadonlyMap<string, string>> {
  return readList(await docker(...listOf(project)))
}
