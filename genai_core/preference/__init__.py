"""What people prefer: strengths of models from votes on pairs. Pure, and light enough for flows to import."""
