import { expect, test } from '@jest/globals'
import { composeUp } from '../kit/compose.js'

const cluster = await composeUp()

test.each(['postgres', 'redis'])('%s cannot be reached from the host’s network', async (service) => {
  const { HostConfig, NetworkSettings } = await cluster.inspect(service)
  expect(HostConfig.PortBindings ?? {}).toEqual({})
  expect(Object.values(NetworkSettings.Ports).flatMap((published) => published ?? [])).toEqual([])
  expect(Object.keys(NetworkSettings.Networks)).toEqual([`${cluster.project}_${service}`])
  expect(await cluster.isInternal(service)).toBe(true)
})

test('No container’s main process is root', async () => {
  for (const service of cluster.services) {
    const status = await cluster.exec(service, 'cat', '/proc/1/status')
    const [, real, effective] = /^Uid:\s+(\d+)\s+(\d+)/m.exec(status) ?? []
    expect({ service, real, effective }).toEqual({
      service,
      real: expect.stringMatching(/^[1-9]/),
      effective: expect.stringMatching(/^[1-9]/),
    })
  }
  for (const { name } of cluster.nodes) expect((await cluster.inspect(name)).Config.User).toBe('node')
})
