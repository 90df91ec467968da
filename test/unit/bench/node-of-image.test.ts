import { expect, jest, test } from '@jest/globals'
import { chooseNode, type HostNode } from '../../../bench/node-of-image.js'

const host = (version: string): HostNode => ({ path: '/usr/bin/node', version })
const image: HostNode = { path: '/somewhere/node', version: 'v24.21.0' }

test('on an older Node, the suites run on that of the image, which the output names, and the host has one row', () => {
  expect(chooseNode(24, host('v20.20.2'), () => image)).toEqual({
    path: image.path,
    host: host('v20.20.2'),
    note: "Node v24.21.0, as in the image; the host's v20.20.2 has one row",
  })
})

test.each(['v24.1.0', 'v26.0.0'])('on %s, nothing is installed', (version) => {
  const install = jest.fn<() => HostNode>()
  expect(chooseNode(24, host(version), install)).toEqual({
    path: '/usr/bin/node',
    host: undefined,
    note: `Node ${version}`,
  })
  expect(install).not.toHaveBeenCalled()
})

test('without a registry, the suites run on the Node that there is, and the output says so', () => {
  const chosen = chooseNode(24, host('v20.20.2'), () => {
    throw new Error('npm install ended with 1')
  })
  expect(chosen).toEqual({
    path: '/usr/bin/node',
    host: undefined,
    note: "Node v20.20.2, and not the image's: Node 24 cannot be installed (npm install ended with 1)",
  })
})
