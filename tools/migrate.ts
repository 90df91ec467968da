import 'reflect-metadata'
import { ConfigError } from '../src/config-error.js'
import { lineOf } from '../src/kernel/observability/error-serializer.js'
import { migrate } from '../src/kernel/persistence/migrate.js'
import { readSecretFiles } from '../src/secret-files.js'

const databaseUrl = databaseUrlOf(process.env)
// Imported only now, because it also reads the settings, and reports an invalid one in more than one line.
const { createDataSource } = await import('../ormconfig.js')
const dataSource = createDataSource({ databaseUrl, applicationName: 'migrate', timeoutMs: 600_000 })
try {
  await dataSource.initialize()
  const applied = await migrate(dataSource, databaseUrl)
  console.log(
    applied.length > 0 ? `Applied: ${applied.join(', ')}` : 'Nothing to apply: the schema is up to date',
  )
} catch (error) {
  console.error(`aftercommit: the migration failed: ${lineOf(error)}`)
  process.exitCode = 1
} finally {
  if (dataSource.isInitialized) await dataSource.destroy()
}

function databaseUrlOf(environment: NodeJS.ProcessEnv): string {
  try {
    const { DATABASE_URL } = readSecretFiles(environment)
    if (!DATABASE_URL) throw new ConfigError('DATABASE_URL is not set')
    return DATABASE_URL
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    console.error(`aftercommit: ${error.message}`)
    process.exit(2)
  }
}
