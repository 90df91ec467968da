/** `npm run demo`: the story of three nodes, told with real processes. `-- --exit` ends when it is told. */
import { constants } from 'node:os'
import { play, startStack } from './story.js'
import { Terminal } from './terminal.js'

const unknown = process.argv.slice(2).find((argument) => argument !== '--exit')
if (unknown !== undefined) {
  console.error(`demo: unknown argument "${unknown}"; there is only --exit`)
  process.exit(2)
}
const exitWhenTold = process.argv.includes('--exit')

/** What the story came to; undefined until it is told. */
let exitCode: number | undefined
let ending = false

// Whatever happens here, the stack's reaper ends every process and removes the folder.
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
// As when the output goes to `head`.
process.stdout.on('error', () => process.exit(1))

try {
  const terminal = new Terminal()
  const { held, urls, userPath } = await play(terminal, starting)
  exitCode = held ? 0 : 1
  if (exitWhenTold) await end(exitCode)
  terminal.title('The nodes are still there to be tried')
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
