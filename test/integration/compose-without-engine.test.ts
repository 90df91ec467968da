import { spawnSync } from 'node:child_process'
import { expect, test } from '@jest/globals'
import { compiledFile } from '../../tools/local-stack/compiled-file.js'

const program = compiledFile('tools/compose/run.js')

test.each([
  { where: 'no engine answers', env: { DOCKER_HOST: 'tcp://127.0.0.1:1' } },
  { where: 'Docker is not installed', env: { PATH: '/nowhere' } },
])('Where $where, the tests of containers end with one line and exit code 2', ({ env }) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, '--', process.execPath], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  expect(stderr).toMatch(/^The containers need a Docker engine, and none answers: .+\n$/)
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
})
