"""Pictures and pages: grids, curves, the stage graph, the HTML report."""
