import { parse, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import type { Curve, Series } from './curve.js'

/** An SVG chart: medians as lines, smallest to largest as a band. */
export async function plot(curve: Curve, series: readonly Series[]): Promise<string> {
  const values = series.flatMap(({ name, points }) =>
    points.map(({ x, y }) => ({ series: name, x, y: y.median, min: y.min, max: y.max })),
  )
  const x = {
    field: 'x',
    type: 'quantitative',
    title: curve.x,
    // Zero, as for no tags at all, has no logarithm.
    scale: { type: values.some((value) => value.x === 0) ? 'linear' : 'log', nice: false },
    axis: { format: '~s', tickCount: 6 },
  } as const
  const scale = curve.logarithmicY ? ({ type: 'log' } as const) : ({ type: 'linear', zero: true } as const)
  // Ours first, so that it has the same colour in every chart.
  const names = series.map(({ name }) => name)
  const color = {
    field: 'series',
    type: 'nominal',
    title: null,
    scale: { domain: ['aftercommit', ...names.filter((name) => name !== 'aftercommit')] },
    legend: { orient: 'top', labelLimit: 0 },
  } as const
  const spec: TopLevelSpec = {
    $schema: 'https://vega.github.io/schema/vega-lite/v5.json',
    title: curve.title,
    width: 560,
    height: 280,
    background: 'white',
    data: { values },
    encoding: { x, color },
    layer: [
      {
        mark: { type: 'area', opacity: 0.15 },
        encoding: {
          y: { field: 'min', type: 'quantitative', title: curve.y, scale, axis: { format: '~s' } },
          y2: { field: 'max' },
        },
      },
      { mark: { type: 'line', point: true }, encoding: { y: { field: 'y', type: 'quantitative', scale } } },
    ],
  }
  return new View(parse(compile(spec).spec), { renderer: 'none' }).toSVG()
}
