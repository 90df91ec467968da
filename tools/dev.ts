import { spawn } from 'node:child_process'
import { withoutSecretFiles } from '../src/secret-files.js'
import { startLocalStack } from './local-stack/index.js'

/**
 * `npm run dev` runs one node on a private Postgres and Redis. It compiles and restarts whenever a file is saved.
 */
const stack = await startLocalStack()
for (const note of stack.notes) console.log(note)

const environment = {
  PORT: '3000',
  LOG_LEVEL: 'debug',
  ...withoutSecretFiles(process.env),
  DATABASE_URL: stack.databaseUrl,
  ...(stack.redisUrl ? { REDIS_URL: stack.redisUrl } : {}),
}
const compiler = spawn(
  process.execPath,
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--watch', '--preserveWatchOutput'],
  { stdio: 'inherit' },
)
const node = spawn(process.execPath, ['--watch', '--enable-source-maps', 'dist/src/main.js'], {
  stdio: ['inherit', 'pipe', 'inherit'],
  env: environment,
})
const pretty = spawn(process.execPath, ['node_modules/pino-pretty/bin.js', '--ignore', 'pid,hostname'], {
  stdio: ['pipe', 'inherit', 'inherit'],
})
node.stdout.pipe(pretty.stdin)
for (const { pid } of [compiler, node, pretty]) if (pid) stack.watch(pid)
console.log(`http://127.0.0.1:${environment.PORT}/docs · Postgres ${stack.databaseUrl}`)

let stopping = false
async function stop(): Promise<void> {
  if (stopping) return
  stopping = true
  await stack.stop()
  process.exit(0)
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop())
node.on('exit', () => void stop())
