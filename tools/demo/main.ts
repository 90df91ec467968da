/** `npm run demo` shows three nodes in trouble, with real processes. With `-- --exit` it ends after the last scene. */
import { constants } from 'node:os'
import { play, startStack } from './story.js'
import { Terminal } from './terminal.js'

const unknown = process.argv.slice(2).find((argument) => argument !== '--exit')
if (unknown !== undefined) {
  console.error(`demo: unknown argument "${unknown}"; there is only --exit`)
  process.exit(2)
}
const exitWhenTold = process.argv.includes('--exit')

/** The result; undefined before the last scene has ended. */
let exitCode: number | undefined
let ending = false

// However this process ends, the stack's reaper ends every other process and removes the folder.
const starting = startStack()

async function end(code: number): Promise<void> {
  ending = true
  await starting.then((stack) => stack.stop()).catch(() => {})
  process.exit(code)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (ending) process.exit(128 + constants.signals[signal])
    process.stdout.write('\n')
    void end(exitCode ?? 128 + constants.signals[signal])
  })
}
// The output may be a pipe whose reader has ended, such as `head`.
process.stdout.on('error', () => process.exit(1))

try {
  const terminal = new Terminal()
  const { held, urls, userPath } = await play(terminal, starting)
  exitCode = held ? 0 : 1
  if (exitWhenTold) await end(exitCode)
  terminal.title('The nodes are still running, so that you can try them')
  for (const [index, url] of urls.entries()) {
    terminal.say(`node ${index + 1}  ${url}  ${url}/docs  ${url}/health/ready`)
  }
  terminal.say('')
  terminal.say(`curl -i ${urls[0]}${userPath}`)
  terminal.say('')
  terminal.say('Ctrl-C ends everything.')
} catch (error) {
  if (!ending) {
    console.error(`\ndemo: ${(error as Error).message}`)
    await end(1)
  }
}
