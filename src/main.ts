import 'reflect-metadata'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { type Config, ConfigError, readConfig } from './config.js'
import { serializeError } from './kernel/observability/error-serializer.js'
import { LogDestination, standardOutput } from './kernel/observability/log-destination.js'
import { modules } from './service-modules.js'

let config: Config
try {
  config = readConfig(process.env, modules)
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(`aftercommit: ${error.message}`)
  process.exit(2)
}

const log = new LogDestination(standardOutput())
const logger = pino(
  {
    level: config.LOG_LEVEL,
    base: { node: config.NODE_NAME },
    serializers: { err: serializeError },
  },
  log,
)
log.onRecovery = (dropped) =>
  logger.warn({ dropped }, 'log lines were dropped while they could not be written')
// Imported only now, because ormconfig.ts creates a data source from DATABASE_URL when it is loaded. A bad URL would make that
// fail before it was checked.
const { Node } = await import('./node.js')
const node = new Node(config, logger)

/** How many milliseconds of the time for stopping are reserved for writing the last lines of the log. */
const lastLinesMs = Math.min(500, config.SHUTDOWN_TIMEOUT_MS / 4)

let stopping = false
async function stop(reason: string, exitCode: number): Promise<never> {
  if (stopping) return new Promise(() => {})
  stopping = true
  logger.info({ reason }, 'stopping')
  const code = (await isStopped()) ? exitCode : 1
  await log.flush(lastLinesMs)
  process.exit(code)
}

/** Waits for a limited time, so that the process ends itself and logs why. An orchestrator would kill it without a reason. */
async function isStopped(): Promise<boolean> {
  const tooLong = sleep(config.SHUTDOWN_TIMEOUT_MS - lastLinesMs, 'too long' as const)
  try {
    if ((await Promise.race([node.stop(), tooLong])) !== 'too long') return true
    logger.error('stopping took too long')
  } catch (error) {
    logger.error({ err: error }, 'stopping failed')
  }
  return false
}

process.on('SIGTERM', () => void stop('SIGTERM', 0))
process.on('SIGINT', () => void stop('SIGINT', 0))
process.on('uncaughtException', (error) => {
  logger.fatal({ err: error }, 'an error was not caught')
  void stop('uncaught exception', 1)
})
process.on('unhandledRejection', (error) => {
  logger.fatal({ err: error }, 'a rejection was not handled')
  void stop('unhandled rejection', 1)
})

try {
  await node.start()
} catch (error) {
  logger.fatal({ err: error }, 'the node cannot start')
  await stop('failed start', 1)
}
