# First lines of a job on a cluster with environment modules. Change the names to your cluster's.
module purge
module load python/3.11 cuda/12
source "$HOME/maskmill/.venv/bin/activate"
