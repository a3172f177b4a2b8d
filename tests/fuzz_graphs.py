"""The graphs that mutated passes are applied to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from graphtool.cases import model_of
from graphtool.errors import GraphtoolError
from graphtool.graph import Graph, check
from graphtool.rewrite import Pass


@lru_cache(maxsize=1)
def any_graph() -> Graph:
    """A small graph with many of the operators that the shipped passes look for."""
    return model_of(
        """g (float[1,3,8,8] x, float[8,32,64] p, int64[2] ids, bool flag) => (float[1,4,16,16] y, float[2] z, float o)
        <float[4,3,1,1] w, float[4] s, float[4] t, float[4] m, float[4] v = {1,2,3,4}, float[4] f = {1,1,2,2},
         int64[2] size = {6,6}, int64[1] k = {2}, float[2] c> {
          i = Identity(x) r = Conv(i, w) n = BatchNormalization(r, s, t, m, v)
          u = Transpose<perm=[0,2,3,1]>(n) q = Transpose<perm=[0,3,1,2]>(u) y = Resize<mode="linear">(q, , f)
          h = AdaptiveAvgPool2d<output_size=[6,6]>(p) b = org.pytorch.aten.ATen<operator="adaptive_avg_pool2d">(p, size)
          z, j = TopK(c, k) l = Gather(c, ids) d = Clip<min=0.5>(l) e = Relu(d)
          o = If(flag) <then_branch = g1 () => (float a) { a = ReduceMax<keepdims=0>(e) },
                        else_branch = g2 () => (float a2) { e2 = Identity(e) a2 = ReduceMin<keepdims=0>(e2) }>
        }""",
        17,
    )


@lru_cache(maxsize=1)
def chains() -> Graph:
    """Shape arithmetic, 64-bit integers, a row of Concats, a GELU and a Loop, all with an open dimension."""
    return model_of(
        """g (float[N,4] x, int64[N] ids) => (float[N,4] y, int64[K] c, float[2,M] r, float[N,4] l)
        <float root = {1.4142135}, float one = {1}, float half = {0.5}, int64[1] first = {0}, int64[2] minus = {2,-1},
         int64 trips = {3}, bool cond = {1}> {
          d = Div(x, root) e = Erf(d) s = Add(e, one) q = Mul(x, s) y = Mul(q, half)
          n = Neg(ids) a = Abs(n) b = Concat<axis=0>(a, ids) c = Concat<axis=0>(b, n)
          h = Shape(x) g0 = Gather(h, first) u = Unsqueeze(g0, first) z = Squeeze(u, first)
          w = Reshape(x, minus) r = Relu(w)
          l = Loop(trips, cond, x) <body = body (int64 i, bool ci, float[N,4] carried) => (bool co, float[N,4] out) {
            co = Identity(ci) t = Cast<to=1>(i) out = Add(carried, t) }>
        }""",
        17,
    )


def graphs(spec: Pass) -> Iterator[Graph]:
    """Yield the graphs to apply a pass to: two with much in them, and those of its first cases."""
    yield any_graph().copy()
    yield chains().copy()
    for case in spec.cases[:2]:
        try:
            graph = model_of(case.before, min(case.opset, 25))
            check(graph)  # as every command does first
            yield graph
        except GraphtoolError:  # a mutated graph is not sound
            continue
