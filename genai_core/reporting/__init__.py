"""Pictures and pages for people: grids, curves, the stage graph, the HTML report."""
