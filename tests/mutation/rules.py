from mutant import mutant
MUTANTS = []
