import { spawnSync } from 'node:child_process'
import { listOf, readList } from './containers.js'

/** How many lines of each container are shown. */
const lines = 20

/**
 * The last lines that each container of a project has logged. It blocks, so that a reporter of tests gets the lines of the
 * test that has failed, and not those of the next one.
 *
 * @param since only lines from then on, in ms since 1970
 */
export function lastLogLines(project: string, since = 0): string {
  const docker = (...args: readonly string[]) => spawnSync('docker', args, { encoding: 'utf8' })
  return [...readList(docker(...listOf(project)).stdout ?? '')]
    .map(([service, container]) => {
      const from = (since / 1_000).toFixed(3)
      const { stdout, stderr } = docker('logs', '--tail', String(lines), '--since', from, container)
      const text = `${stdout}${stderr}`.trimEnd()
      return text ? `── ${service}\n${text}\n` : `── ${service}: no lines\n`
    })
    .join('')
}
