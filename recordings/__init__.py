"""Middle floor: keeps, measures, compares and exports what tracers observe. Draws nothing."""
