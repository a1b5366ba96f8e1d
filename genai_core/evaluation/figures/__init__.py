"""Each figure as a pure formula on float64 arrays, one concept per file."""
