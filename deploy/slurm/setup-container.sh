# First lines of a job whose programs are in a container: every program is begun with `launcher`.
# The folders of images, masks and runs have to be seen inside under the same names; /tmp is shared
# by itself, and Ray needs that. On machines with GPUs write: apptainer exec --nv --bind …
launcher=(apptainer exec --bind /shared "$HOME/maskmill.sif")
